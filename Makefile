# SPDX-License-Identifier: Apache-2.0
# One non-recursive Makefile. New sources, protos and tests are found by wildcard; see docs/architecture.md.
#   make                 all programs            make demo     run an OCI bundle in a pod
#   make check           all tests               make bench    the measures, side by side
#   make MODE=asan check MODE is dev (default), rel, asan, tsan, cov or fuzz; V=1 shows commands
MODE ?= dev
CC = gcc
ifeq ($(MODE),fuzz)
CC := clang
endif
O := build/$(MODE)
GEN := build/gen
VERSION := 0.1.0
COMMIT := $(shell git describe --always --dirty --abbrev=12 2>/dev/null)

MODULES := base oci proto vmm runtime shim
VMM_DIRS := vmm vmm/hv vmm/soft vmm/x86 vmm/mem vmm/chip vmm/boot vmm/virtio vmm/fs

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wimplicit-fallthrough -Wvla \
	-Wno-missing-field-initializers $(if $(findstring clang,$(CC)),,-Wno-format-truncation) -Wformat=2 -Wcast-qual -Wundef -Wpointer-arith $(if $(NO_WERROR),,-Werror)
CPPFLAGS := -D_GNU_SOURCE -DBULKHEAD_VERSION='"$(VERSION)"' -I. -isystem $(GEN)
CFLAGS_all := -std=gnu11 -g -pthread -fno-strict-aliasing $(WARN)
CFLAGS_dev := -O2
CFLAGS_rel := -O2 -DNDEBUG
CFLAGS_asan := -O1 -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
CFLAGS_tsan := -O1 -fsanitize=thread -Wno-tsan
CFLAGS_cov := -O1 --coverage
CFLAGS_fuzz := -O1 -fsanitize=fuzzer-no-link,address,undefined
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_cov := --coverage
LDFLAGS_fuzz := -fsanitize=address,undefined
CFLAGS = $(CFLAGS_all) $(CFLAGS_$(MODE)) $(EXTRA_CFLAGS)
# The interpreter's handlers call one another by sibling calls: never below -O2.
# No red zone: mem_stubs.S is called behind the compiler's back.
CFLAGS_x86 := -O2 -mno-red-zone -fno-stack-protector -fcf-protection=none -fomit-frame-pointer
LDFLAGS = -pthread $(LDFLAGS_$(MODE))
LIBS_oci := -lyajl
LIBS := -lprotobuf-c -lyajl -lfdt -lcap -lseccomp -lsystemd -lm
Q := $(if $(V),,@)


.DEFAULT_GOAL := all

ifeq ($(filter $(MODE),dev rel asan tsan cov fuzz),)
$(error MODE=$(MODE): expected dev, rel, asan, tsan, cov or fuzz)
endif

# ---- what there is
src_of = $(foreach d,$(1),$(wildcard $(d)/*.c $(d)/*.S))
SRC_vmm := $(call src_of,$(VMM_DIRS))
SRC_base := $(call src_of,base)
SRC_oci := $(call src_of,oci)
PROTOS := $(wildcard proto/*.proto)
GEN_C := $(PROTOS:%.proto=$(GEN)/%.pb-c.c)
GEN_H := $(GEN_C:.c=.h)
SRC_proto := $(call src_of,proto)
MAINS := runtime/main.c runtime/vmm_main.c runtime/fs_main.c
SRC_runtime := $(filter-out $(MAINS) $(wildcard runtime/cmd_*.c),$(call src_of,runtime))
SRC_bulkhead := $(wildcard runtime/main.c runtime/cmd_*.c)
SRC_agent := $(call src_of,agent)
SRC_shim := $(filter-out shim/main.c,$(call src_of,shim))

obj = $(patsubst %.S,$(O)/%.o,$(patsubst %.c,$(O)/%.o,$(patsubst build/gen/%,gen/%,$(1))))
lib_objs = $(call obj,$(SRC_$(1)))
LIB = $(foreach m,$(1),$(O)/lib/lib$(m).a)
RUNTIME_LIBS := $(call LIB,runtime vmm proto oci base)

UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT := $(UNIT_SRC:tests/unit/%.c=$(O)/tests/unit/%)
PROGRAMS := $(O)/bin/bulkhead $(O)/bin/bulkhead-vmm $(O)/bin/bulkhead-fs $(O)/bin/bulkhead-agent \
	$(O)/bin/containerd-shim-bulkhead-v2


# ---- rules
FLAGS_NOW := $(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_x86) $(LDFLAGS)
$(O)/flags: force
	@mkdir -p $(@D); echo '$(FLAGS_NOW)' | cmp -s - $@ || echo '$(FLAGS_NOW)' > $@
.PHONY: force
force:

# The commit is of main.o alone: nothing else is compiled again for it.
$(O)/commit: force
	@mkdir -p $(@D); echo '$(COMMIT)' | cmp -s - $@ || echo '$(COMMIT)' > $@
$(O)/runtime/main.o: $(O)/commit
$(O)/runtime/main.o: private CPPFLAGS += -DBULKHEAD_COMMIT='"$(COMMIT)"'

# Nor under TSan: the guest's own races on its memory are its own.
$(O)/vmm/x86/%.o: CFLAGS += $(CFLAGS_x86) $(if $(filter tsan,$(MODE)),-fno-sanitize=thread -DX86_GUEST_RACES)
$(O)/%.o: %.c $(O)/flags | $(GEN_H)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $@")
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MD -MP -c $< -o $@
$(O)/%.o: %.S $(O)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  AS    $@")
	$(Q)$(CC) $(CPPFLAGS) -g -MD -MP -c $< -o $@
$(O)/gen/%.o: $(GEN)/%.c $(O)/flags | $(GEN_H)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(filter-out $(WARN),$(CFLAGS)) -MD -MP -c $< -o $@
$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h &: %.proto
	@mkdir -p $(@D)
	$(if $(V),,@echo "  PROTO $<")
	$(Q)protoc-c --proto_path=. --c_out=$(GEN) $<

define lib_rule
$(O)/lib/lib$(1).a: $(call obj,$(SRC_$(1)) $(2))
	@mkdir -p $$(@D); rm -f $$@
	$$(Q)$(AR) rcs $$@ $$^
endef
$(eval $(call lib_rule,base))
$(eval $(call lib_rule,oci))
$(eval $(call lib_rule,proto,$(GEN_C)))
$(eval $(call lib_rule,vmm))
$(eval $(call lib_rule,runtime))
$(eval $(call lib_rule,shim))
$(eval $(call lib_rule,agent)) # for its tests

link = $(if $(V),,@echo "  LD    $@";)mkdir -p $(@D) && $(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(1)
$(O)/bin/bulkhead: $(call obj,$(SRC_bulkhead)) $(RUNTIME_LIBS)
	@$(call link,$(LIBS))
$(O)/bin/bulkhead-vmm: $(call obj,runtime/vmm_main.c) $(RUNTIME_LIBS)
	@$(call link,-lprotobuf-c -lyajl -lfdt -lcap -lm)
$(O)/bin/bulkhead-fs: $(call obj,runtime/fs_main.c) $(RUNTIME_LIBS)
	@$(call link,-lprotobuf-c -lyajl -lcap)
$(O)/bin/containerd-shim-bulkhead-v2: $(call obj,shim/main.c) $(call LIB,shim) $(RUNTIME_LIBS)
	@$(call link,-lprotobuf-c -lyajl -lmd)

# The software partition behind open("/dev/mshv") of any program: its own objects, position-independent, nothing exported
# but the calls it takes over. Not with a sanitizer, which would have to be the program's first library.
PIC := $(O)/pic
PRELOAD := $(O)/lib/libmshv-preload.so
PRELOAD_OBJ := $(patsubst %.S,$(PIC)/%.o,$(patsubst %.c,$(PIC)/%.o,$(call src_of,vmm/preload)))
PIC_LIB_OBJ := $(patsubst %.S,$(PIC)/%.o,$(patsubst %.c,$(PIC)/%.o,$(call src_of,vmm/soft vmm/x86 base)))
PIC_CFLAGS := $(CFLAGS_all) -O2 -fPIC -fvisibility=hidden -ftls-model=initial-exec -ffunction-sections -fdata-sections
$(PIC)/vmm/x86/%.o: PIC_CFLAGS += $(CFLAGS_x86)
$(PIC)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $@")
	$(Q)$(CC) $(CPPFLAGS) $(PIC_CFLAGS) -MD -MP -c $< -o $@
$(PIC)/%.o: %.S $(O)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  AS    $@")
	$(Q)$(CC) $(CPPFLAGS) -fPIC -g -MD -MP -c $< -o $@
$(PIC)/libsoft.a: $(PIC_LIB_OBJ)
	@mkdir -p $(@D); rm -f $@
	$(Q)$(AR) rcs $@ $^
$(PRELOAD): $(PRELOAD_OBJ) $(PIC)/libsoft.a vmm/preload/exports.map
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) -shared -pthread -o $@ $(PRELOAD_OBJ) $(PIC)/libsoft.a -Wl,--version-script=vmm/preload/exports.map \
		-Wl,--gc-sections -Wl,-z,defs -Wl,-z,text -Wl,--as-needed -lm -ldl
# Its test is run under it.
$(O)/tests/unit/test_vmm_preload: | $(PRELOAD)
.PHONY: preload
preload: $(PRELOAD)

# The agent is static, small and never built with a sanitizer: it is PID 1 of the guest.
AO := $(O)/agent-static
AGENT_CFLAGS := $(CFLAGS_all) -Os -ffunction-sections -fdata-sections
AGENT_SRC := $(SRC_agent) $(SRC_proto) $(GEN_C) $(SRC_oci) $(SRC_base)
AGENT_OBJ := $(patsubst %.c,$(AO)/%.o,$(patsubst build/gen/%,gen/%,$(filter %.c,$(AGENT_SRC))))
$(AO)/gen/%.o: $(GEN)/%.c $(O)/flags | $(GEN_H)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(filter-out $(WARN),$(AGENT_CFLAGS)) -MD -MP -c $< -o $@
$(AO)/%.o: %.c $(O)/flags | $(GEN_H)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $@")
	$(Q)$(CC) $(CPPFLAGS) $(AGENT_CFLAGS) -MD -MP -c $< -o $@
$(O)/bin/bulkhead-agent: $(AGENT_OBJ)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) -static -pthread -Wl,--gc-sections -s -o $@ $^ -lprotobuf-c -lyajl_s -lcap -lseccomp -lm

# ---- unit tests: one TAP program a file
$(O)/tests/unit/%: $(O)/tests/unit/%.o $(RUNTIME_LIBS)
	@$(call link,$(LIBS) -lcmocka $(TEST_LIBS))
$(O)/tests/unit/test_agent_%: $(O)/tests/unit/test_agent_%.o $(O)/lib/libagent.a $(RUNTIME_LIBS)
	@$(call link,$(LIBS) -lcmocka $(TEST_LIBS))
$(O)/tests/unit/test_shim_%: $(O)/tests/unit/test_shim_%.o $(call LIB,shim) $(RUNTIME_LIBS)
	@$(call link,$(LIBS) -lmd -lcmocka $(TEST_LIBS))
.PHONY: unit-tests
unit-tests: $(UNIT)

SHARE := $(O)/share/bulkhead
include $(wildcard tests/*.mk tests/*/*.mk guest-kernel-config/*.mk packaging/*.mk)

all: $(PROGRAMS) $(PRELOAD)
.PHONY: asan tsan
asan tsan:
	$(MAKE) MODE=$@ check

.PHONY: clean
clean:
	rm -rf build

.SECONDARY:
.DELETE_ON_ERROR:
-include $(shell find $(O) -name '*.d' 2>/dev/null)
