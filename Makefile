# SPDX-License-Identifier: MIT
# The front door; meson does the building. `make help` lists what there is.

BUILD := build
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: all program setup ready demo shell check check-quick soak soak-cpu visible mappings torture torture-ubsan torture-asan torture-tsan fuzz bench profile install uninstall dist deb clean help bench-page recording deb-twice

# What a user needs, and nothing of the tests.
PROGRAM := src/cli/userkvm src/libuserkvm.so src/loader/userkvm-loader src/loader/userkvm-world

all: $(BUILD)/build.ninja
	@test -d $(BUILD)/tests || { tools/setup build && meson configure $(BUILD) -Dtests=true -Dwerror=true; }
	@ninja -C $(BUILD)
	@ln -sfn src/cli/userkvm $(BUILD)/userkvm

$(BUILD)/build.ninja:
	@tools/setup build
	meson setup $(BUILD)

# The library and the command alone; a build directory made for them is told of the tests by `all'. A warning of a
# compiler that is newer than this source is nothing to a user; to a developer it is an error.
program:
	@test -e $(BUILD)/build.ninja || meson setup $(BUILD) -Dtests=false -Dwerror=false
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
	@tools/guest
	@tests/run $(BUILD) quick

# Other processors and releases, as guests of QEMU's TCG: make check-hosts HOSTS='core2duo trixie'
HOSTS ?=
.PHONY: check-hosts
check-hosts:
	@tools/setup hosts
	@tests/hosts/hosts $(HOSTS)

soak:
	@tools/setup soak
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

# Page tables that change under translated code, beside a model: TIME seconds from SEED.
mappings: all
	@$(BUILD)/userkvm run -- $(BUILD)/tests/mappings/mappings -t $(TIME) -s $(SEED)

# Torture with a library that traps at undefined behaviour: no runtime has to be preloaded for it.
torture-ubsan:
	@tools/setup
	@test -f $(BUILD)-ubsan/build.ninja || meson setup -Db_sanitize=undefined -Db_lundef=false \
		-Dc_args=-fsanitize-undefined-trap-on-error $(BUILD)-ubsan
	@ninja -C $(BUILD)-ubsan src/libuserkvm.so src/cli/userkvm tests/torture/torture
	@$(BUILD)-ubsan/src/cli/userkvm run -- $(BUILD)-ubsan/tests/torture/torture -t $(TIME) -s $(SEED)

# The same under the address and the thread sanitizer, with generated code.
torture-asan torture-tsan: torture-%san:
	@tools/setup
	@test -f $(BUILD)-$*san/build.ninja || meson setup -Db_lundef=false -Db_sanitize=$(SANITIZER) \
		$(BUILD)-$*san
	@ninja -C $(BUILD)-$*san src/libuserkvm.so tests/torture/torture
	@tests/torture/sanitized $(BUILD)-$*san $*san -t $(TIME) -s $(SEED)
torture-asan: SANITIZER = address
torture-tsan: SANITIZER = thread

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

# Small changes of guest memory's source, N of them, and who notices each: goes on where it stopped.
MUTANTS ?= 300
.PHONY: mutate
mutate: all
	@BUILD=$(BUILD) tools/mutate run -n $(MUTANTS)
	@BUILD=$(BUILD) tools/mutate show

# What of guest memory's source no scenario of the explorer reaches.
.PHONY: explore-coverage
explore-coverage: all
	@tools/explore-coverage run $(BUILD)

# Every figure beside what it is compared to: make bench ROUNDS=5 BENCH=memory
ROUNDS ?= 3
BENCH ?=
bench: all
	@bench/run --rounds $(ROUNDS) $(BUILD) $(BENCH)

# Where a guest's time goes: a table, and a flame graph. ROW: a row of the guests' bench, or boot.
ROW ?= boot
profile: all
	@bench/guests/profile $(BUILD)/bench/guests/rows $(BUILD)/userkvm $(ROW) $(BUILD)/profile.svg

# docs/bench.md and docs/bench.svg, as bars: what is measured now, or what `bench/run --json` has printed into JSON.
JSON ?=
bench-page: $(if $(JSON),,all)
	@test -n '$(JSON)' || bench/run --json --rounds $(ROUNDS) $(BUILD) $(BENCH) >$(BUILD)/bench.json
	@bench/page '$(or $(JSON),$(BUILD)/bench.json)' docs/bench.md docs/bench.svg

# The demo as a moving picture, docs/demo.svg.
recording: ready
	@tools/record --title 'make demo' docs/demo.svg tools/demo

install:
	@tools/setup build
	@$(MAKE) --no-print-directory program
	@meson configure $(BUILD) --prefix '$(abspath $(PREFIX))'
	@ninja -C $(BUILD) $(PROGRAM)
	@DESTDIR='$(DESTDIR)' meson install -C $(BUILD) --no-rebuild

# What `make install' put there, as long as the build directory knows.
uninstall:
	@meson introspect --installed $(BUILD) | tools/uninstall '$(DESTDIR)'

# A release's tarball, the same bytes each time: of what is committed.
VERSION := $(shell sed -n "s/^  version: '\(.*\)',/\1/p" meson.build)
dist:
	@mkdir -p $(BUILD)
	@git archive --prefix=userkvm-$(VERSION)/ HEAD -- . ':!debian' | gzip -9n >$(BUILD)/userkvm-$(VERSION).tar.gz
	@echo $(BUILD)/userkvm-$(VERSION).tar.gz

# Debian packages, in $(BUILD)/deb.
deb: dist
	@tools/setup deb
	@tools/deb $(BUILD) $(VERSION)

# The same twice, in other circumstances: the bytes must be the same.
deb-twice: dist
	@tools/setup deb
	@tools/deb-twice $(BUILD) $(VERSION)

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
	@echo 'make mutate        change guest memory in MUTANTS (300) small ways: who notices?'
	@echo 'make explore-coverage  what of guest memory the explorer does not reach'
	@echo 'make torture       hostile guests with several vCPUs: TIME=, SEED='
	@echo 'make mappings      page tables that change under translated code: TIME=, SEED='
	@echo 'make torture-ubsan the same, of a library that traps at undefined behaviour'
	@echo 'make torture-asan, torture-tsan  the same, with the address or the thread sanitizer'
	@echo 'make profile       draw where the time of a guest goes: ROW=boot, or a row of the guests'"'"' bench'
	@echo 'make bench         measure, in ROUNDS (3): each figure beside the host'"'"'s own'
	@echo 'make bench-page    the same, as docs/bench.md and docs/bench.svg; JSON=FILE: of what was measured before'
	@echo 'make recording     the demo as a moving picture, docs/demo.svg'
	@echo 'make install       into PREFIX (/usr/local), below DESTDIR'
	@echo 'make uninstall     what it installed there'
	@echo 'make deb           Debian packages, in $(BUILD)/deb'
	@echo 'make deb-twice     build them twice, and compare'
	@echo 'make dist          the tarball of a release'
	@echo 'make setup         install the packages that the tests need'
	@echo 'make clean         remove $(BUILD)'
