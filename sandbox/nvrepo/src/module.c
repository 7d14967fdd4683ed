/* A kernel module's metadata without its code: enough for modinfo and depmod.
 * The vermagic is filled in on the host, where the kernel is known; the room for it is fixed. */
#define INFO(id, text) static const char id[] \
    __attribute__((section(".modinfo"), used, aligned(1))) = text

INFO(license, "license=" LICENSE);
INFO(version, "version=" VERSION);
INFO(supported, "supported=external");
INFO(depends, "depends=" DEPENDS);
INFO(name, "name=" NAME);
INFO(retpoline, "retpoline=Y");
static const char vermagic[160] __attribute__((section(".modinfo"), used, aligned(1))) =
    "vermagic=@VERMAGIC@";
