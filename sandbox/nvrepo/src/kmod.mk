KERNEL_UNAME ?= $(shell uname -r)
KERNEL_SOURCES ?= /lib/modules/$(KERNEL_UNAME)/build
ccflags-y := -DSUBSTITUTE_VERSION=\"@VERSION@\" '-DSUBSTITUTE_LICENSE="@LICENSE@"'
obj-m := $(addsuffix .o,@MODULES@)

modules clean:
	$(MAKE) -C $(KERNEL_SOURCES) M=$(CURDIR) $@
