/* A module that compiles against any kernel, tells its version and does nothing else. */
#include <linux/init.h>
#include <linux/module.h>

static int __init substitute_init(void)
{
	return 0;
}

static void __exit substitute_exit(void)
{
}

module_init(substitute_init);
module_exit(substitute_exit);
MODULE_LICENSE(SUBSTITUTE_LICENSE);
MODULE_VERSION(SUBSTITUTE_VERSION);
MODULE_DESCRIPTION("substitute of the sandbox");
