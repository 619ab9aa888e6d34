# SPDX-License-Identifier: MIT
# The front door; meson does the building. `make help` lists what there is.

BUILD := build
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: all setup ready demo shell check check-quick soak soak-cpu fuzz bench install clean help

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)
	@ln -sfn src/cli/userkvm $(BUILD)/userkvm

$(BUILD)/build.ninja:
	@tools/setup
	meson setup $(BUILD)

setup:
	@tools/setup

# A tree somebody else built can be shown, too.
ready:
	@tools/setup
	@test ! -w . || $(MAKE) --no-print-directory all
	@test ! -w . || tools/guest

demo: ready
	@tools/demo

shell: ready
	@tools/demo --shell

check: all
	@tools/guest
	@tools/selftests
	@tests/run $(BUILD) quick full

check-quick: all
	@tests/run $(BUILD) quick

soak: all
	@tools/guest generic
	@tools/selftests
	@tests/run $(BUILD) soak

# Longer: make fuzz TIME=1800; the same again: SEED=...
TIME ?= 60
fuzz:
	@tools/setup
	@TIME=$(TIME) tools/fuzz

# Random instructions against the host's processor: N pairs from SEED.
N ?= 10000000
SEED ?= 1
soak-cpu: all
	@$(BUILD)/tests/cpu/soak/cpu_soak -c -n $(N) -s $(SEED) -r tests/cpu/soak/regressions.txt

# Every figure beside what it is compared to: make bench ROUNDS=5 BENCH=memory
ROUNDS ?= 3
BENCH ?=
bench: all
	@bench/run --rounds $(ROUNDS) $(BUILD) $(BENCH)

install: all
	@meson configure $(BUILD) --prefix '$(abspath $(PREFIX))'
	@DESTDIR='$(DESTDIR)' meson install -C $(BUILD)

clean:
	rm -rf $(BUILD)

help:
	@echo 'make               build $(BUILD)/userkvm and its library'
	@echo 'make demo          boot a Debian kernel in an unmodified QEMU under userkvm'
	@echo 'make shell         a shell in the same guest'
	@echo 'make check-quick   the quick tests (under 90 s)'
	@echo 'make check         every test (under 15 minutes)'
	@echo 'make soak          what takes longer: every machine, many boots in a row'
	@echo 'make fuzz          fuzz under sanitizers, TIME (60) seconds for each fuzzer'
	@echo 'make soak-cpu      random instructions against the host: N=10000000 SEED=1'
	@echo 'make bench         measure, in ROUNDS (3): each figure beside the host'"'"'s own'
	@echo 'make install       into PREFIX (/usr/local), below DESTDIR'
	@echo 'make setup         install the Debian packages all this needs'
	@echo 'make clean         remove $(BUILD)'
