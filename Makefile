# SPDX-License-Identifier: MIT
# The front door; meson does the building. `make help` lists what there is.

BUILD := build
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: all program setup ready demo shell check check-quick soak soak-cpu visible torture torture-ubsan fuzz bench install clean help

# What a user needs, and nothing of the tests.
PROGRAM := src/cli/userkvm src/libuserkvm.so

all: $(BUILD)/build.ninja
	@test -d $(BUILD)/tests || { tools/setup build && meson configure $(BUILD) -Dtests=true; }
	@ninja -C $(BUILD)
	@ln -sfn src/cli/userkvm $(BUILD)/userkvm

$(BUILD)/build.ninja:
	@tools/setup build
	meson setup $(BUILD)

# The library and the command alone; a build directory made for them is told of the tests by `all'.
program:
	@test -e $(BUILD)/build.ninja || meson setup $(BUILD) -Dtests=false
	@ninja -C $(BUILD) $(PROGRAM)
	@ln -sfn src/cli/userkvm $(BUILD)/userkvm

setup:
	@tools/setup check

# A tree somebody else built can be shown, too.
ready:
	@tools/setup demo
	@test ! -w . || $(MAKE) --no-print-directory program
	@test ! -w . || tools/guest

demo: ready
	@tools/demo

shell: ready
	@tools/demo --shell

# First what is missing is installed: a test whose library was not there when the tree was configured
# is built to skip.
check: setup
	@$(MAKE) --no-print-directory all
	@tools/guest
	@tools/guest-i386
	@tools/selftests
	@tests/run $(BUILD) quick full

check-quick: all
	@tests/run $(BUILD) quick

# Other processors and releases, as guests of QEMU's TCG: make check-hosts HOSTS='core2duo trixie'
HOSTS ?=
.PHONY: check-hosts
check-hosts:
	@tools/setup hosts
	@tests/hosts/hosts $(HOSTS)

soak: setup
	@$(MAKE) --no-print-directory all
	@tools/guest generic
	@tools/guest-i386
	@tools/selftests
	@tests/run $(BUILD) soak

# Longer: make fuzz TIME=1800; the same again: SEED=...
TIME ?= 60
fuzz:
	@tools/setup fuzz
	@TIME=$(TIME) tools/fuzz

# Hostile guests by kind, each with its own oracle: TIME seconds from SEED.
torture: all
	@$(BUILD)/userkvm run -- $(BUILD)/tests/torture/torture -t $(TIME) -s $(SEED)

# The same with a library that traps at undefined behaviour: no runtime has to be preloaded for it.
torture-ubsan:
	@tools/setup
	@test -f $(BUILD)-ubsan/build.ninja || meson setup -Db_sanitize=undefined -Db_lundef=false \
		-Dc_args=-fsanitize-undefined-trap-on-error $(BUILD)-ubsan
	@ninja -C $(BUILD)-ubsan src/libuserkvm.so src/cli/userkvm tests/torture/torture
	@$(BUILD)-ubsan/src/cli/userkvm run -- $(BUILD)-ubsan/tests/torture/torture -t $(TIME) -s $(SEED)

# Random instructions against the host's processor: N pairs from SEED.
N ?= 10000000
SEED ?= 1
soak-cpu: all
	@$(BUILD)/tests/cpu/soak/cpu_soak -c -n $(N) -s $(SEED) -r tests/cpu/soak/regressions.txt

# Nothing of the host's shows in what a guest can read: two builds, which differ in what unset
# variables hold.
visible:
	@tools/setup
	@for u in zero pattern; do \
		test -f $(BUILD)-$$u/build.ninja || meson setup -Dunset=$$u $(BUILD)-$$u || exit 1; \
		ninja -C $(BUILD)-$$u tests/cpu/soak/cpu_visible || exit 1; \
	done
	@OTHER=$(BUILD)-pattern/tests/cpu/soak/cpu_visible tests/cpu/soak/visible \
		$(BUILD)-zero/tests/cpu/soak/cpu_visible $(N) $(SEED)

# Every figure beside what it is compared to: make bench ROUNDS=5 BENCH=memory
ROUNDS ?= 3
BENCH ?=
bench: all
	@bench/run --rounds $(ROUNDS) $(BUILD) $(BENCH)

install:
	@tools/setup build
	@$(MAKE) --no-print-directory program
	@meson configure $(BUILD) --prefix '$(abspath $(PREFIX))'
	@ninja -C $(BUILD) $(PROGRAM)
	@DESTDIR='$(DESTDIR)' meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD)

help:
	@echo 'make               build $(BUILD)/userkvm, its library and the tests'
	@echo 'make demo          boot a Debian kernel in an unmodified QEMU under userkvm'
	@echo 'make shell         a shell in the same guest'
	@echo 'make check-quick   the quick tests (under 90 s)'
	@echo 'make check         every test (under 15 minutes)'
	@echo 'make check-hosts   the demo and the quick tests on other processors and releases'
	@echo 'make soak          what takes longer: every machine, many boots in a row'
	@echo 'make fuzz          fuzz under sanitizers, TIME (60) seconds for each fuzzer'
	@echo 'make soak-cpu      random instructions against the host: N=10000000 SEED=1'
	@echo 'make visible       look for what the host left in what a guest can read: N=, SEED='
	@echo 'make torture       hostile guests with several vCPUs: TIME=, SEED='
	@echo 'make torture-ubsan the same, of a library that traps at undefined behaviour'
	@echo 'make bench         measure, in ROUNDS (3): each figure beside the host'"'"'s own'
	@echo 'make install       into PREFIX (/usr/local), below DESTDIR'
	@echo 'make setup         install the packages that the tests need'
	@echo 'make clean         remove $(BUILD)'
