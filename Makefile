# Interlock. `make demo` shows it at work, `make check` tests it; `make help` lists the rest.

SAN ?=
CC = gcc
BUILD = build$(if $(SAN),/san)
VERSION = 0.2.0

PREFIX = /usr/local
SYSCONFDIR = /etc
UNITDIR = $(PREFIX)/lib/systemd/system

PKGS = libwebsockets libuv libpq jansson libcrypto inih
override CFLAGS += -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings -Wvla -Wconversion -Wundef -Wnull-dereference -Wredundant-decls \
	-Wold-style-definition -Wformat=2 -Wno-format-nonliteral -Wno-missing-field-initializers -fno-strict-aliasing \
	-fstack-protector-strong -D_FORTIFY_SOURCE=2 -D_GNU_SOURCE -DINTERLOCK_VERSION=\"$(VERSION)\" -Iinclude -I$(BUILD)/gen \
	$(shell pkg-config --cflags $(PKGS) 2>/dev/null)
override LDFLAGS += -Wl,-z,relro,-z,now
override LDLIBS += $(shell pkg-config --libs $(PKGS) 2>/dev/null)
ifneq ($(SAN),)
override CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -U_FORTIFY_SOURCE
override LDFLAGS += -fsanitize=address,undefined
endif

CLI_SRC := src/interlock.c $(wildcard src/cli/*.c)
DAEMON_SRC := $(filter-out $(CLI_SRC),$(wildcard src/*.c src/*/*.c))
# What the command shares with the daemon: nothing that listens, and no loop.
SHARED := $(wildcard src/lib/*.c) $(foreach module,db/schema core/conf core/keyring core/stmt core/fsm,\
	src/$(module).c $(wildcard src/$(module)_*.c))
SHARED_SRC := $(filter-out src/lib/signer.c src/lib/periodic.c src/lib/pool.c src/lib/loop_monitor.c,$(SHARED))
SQL := $(wildcard sql/*/*.sql)

obj = $(patsubst src/%.c,$(BUILD)/%.o,$(1))

all: $(BUILD)/interlockd $(BUILD)/interlock

$(BUILD)/interlockd: $(call obj,$(DAEMON_SRC))
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/interlock: $(call obj,$(CLI_SRC) $(SHARED_SRC))
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/%.o: src/%.c Makefile | libraries $(BUILD)/gen/sql.h $(BUILD)/gen/sql_columns.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# Every .sql file as a C string, a table for each folder.
$(BUILD)/gen/sql.h: $(SQL) $(wildcard sql/*) src/embed.sh src/embed.awk
	@mkdir -p $(@D)
	sh src/embed.sh $(SQL) > $@.tmp && mv $@.tmp $@

# The parameters and the result columns of the statements as enums.
$(BUILD)/gen/sql_columns.h: $(SQL) src/embed.sh src/embed.awk
	@mkdir -p $(@D)
	sh src/embed.sh --enums $(SQL) > $@.tmp && mv $@.tmp $@

# The programs in tests/unit take what they need from all that the daemon is made of, interlockd.c apart.
units: $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/*.c))

$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/interlockd.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -MMD -MP -MF $@.d -o $@ $(filter %.c %.a,$^) $(LDLIBS) -lcmocka

$(BUILD)/interlockd.a: $(call obj,$(filter-out src/interlockd.c,$(DAEMON_SRC)))
	rm -f $@ && ar rcs $@ $^

# Fuzz targets, which tests/fuzz/targets builds with clang and objects of their own.
fuzzers: $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))

$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(BUILD)/interlockd.a
	$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -MMD -MP -MF $@.d -o $@ $(filter %.c %.a,$^) $(LDLIBS)

# The version to come, for tests/wire/upgrade: it has a migration more. Only what knows of versions is
# recompiled.
NEXT_SQL := $(wildcard tests/wire/next/migrations/*.sql)
NEXT_OBJ := $(call obj,$(patsubst %,src/%.c,interlockd db/schema core/stmt interlock cli/check cli/db cli/migrate))
next_obj = $(patsubst $(BUILD)/%,$(BUILD)/next/%,$(filter $(NEXT_OBJ),$(1))) $(filter-out $(NEXT_OBJ),$(1))

next: $(BUILD)/next/interlockd $(BUILD)/next/interlock

$(BUILD)/next/interlockd: $(call next_obj,$(call obj,$(DAEMON_SRC)))
$(BUILD)/next/interlock: $(call next_obj,$(call obj,$(CLI_SRC) $(SHARED_SRC)))
$(BUILD)/next/interlockd $(BUILD)/next/interlock:
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/next/%.o: src/%.c Makefile | libraries $(BUILD)/next/gen/sql.h
	@mkdir -p $(@D)
	$(CC) -I$(BUILD)/next/gen $(CFLAGS) -UINTERLOCK_VERSION -DINTERLOCK_VERSION=\"$(VERSION)+next\" -MMD -MP -c -o $@ $<

$(BUILD)/next/gen/sql.h: $(SQL) $(NEXT_SQL) src/embed.sh src/embed.awk
	@mkdir -p $(@D)
	sh src/embed.sh $(SQL) $(NEXT_SQL) > $@.tmp && mv $@.tmp $@

# The load generator, and the daemon's statements for pgbench.
$(BUILD)/bench/load: $(wildcard tests/bench/load*.c) $(BUILD)/interlockd.a
$(BUILD)/bench/statement: tests/bench/statement.c $(BUILD)/interlockd.a
$(BUILD)/bench/%:
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c %.a,$^) $(LDLIBS)

-include $(wildcard $(patsubst %.o,%.d,$(call obj,$(DAEMON_SRC) $(CLI_SRC))) \
	$(foreach dir,. unit next next/*,$(BUILD)/$(dir)/*.d))

libraries:
	@pkg-config --exists --print-errors '$(PKGS)' || { echo 'Libraries are missing: run `make deps`.' >&2; exit 1; }

# The manual and the completion: made from what the programs and the sample file say, so that they
# cannot leave anything out.
PAGES := $(patsubst config/man/%,$(BUILD)/man/%,$(wildcard config/man/*))

docs: $(PAGES) $(BUILD)/completion

$(BUILD)/man/interlock-protocol.7: tests/client/worker.py
$(BUILD)/man/%: config/man/% src/manual.sh config/interlock.conf $(BUILD)/interlock $(BUILD)/interlockd
	@mkdir -p $(@D)
	sh src/manual.sh $(BUILD) $< > $@.tmp && mv $@.tmp $@

$(BUILD)/completion: src/completion.sh $(BUILD)/interlock $(BUILD)/interlockd
	sh src/completion.sh $(BUILD) > $@.tmp && mv $@.tmp $@

# Where Debian expects it; the units name the programs where they are.
EXAMPLES := $(wildcard config/nginx.conf config/alerts.yml config/grafana-dashboard.json) tests/client/worker.py

install: all docs
	install -d $(DESTDIR)$(SYSCONFDIR)/interlock $(DESTDIR)$(UNITDIR)
	install -d -m 750 $(DESTDIR)$(SYSCONFDIR)/interlock/keys
	[ -e $(DESTDIR)$(SYSCONFDIR)/interlock/interlock.conf ] || \
		install -m 640 config/interlock.conf $(DESTDIR)$(SYSCONFDIR)/interlock/interlock.conf
	install -D -t $(DESTDIR)$(PREFIX)/sbin $(BUILD)/interlockd
	install -D -t $(DESTDIR)$(PREFIX)/bin $(BUILD)/interlock
	for unit in systemd/interlock*; do \
		sed 's,/usr/\(s\?bin/interlock\),$(PREFIX)/\1,' $$unit > $(DESTDIR)$(UNITDIR)/$${unit##*/} && \
		chmod 644 $(DESTDIR)$(UNITDIR)/$${unit##*/} || exit; \
	done
	install -D -m 644 systemd/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/interlock.conf
	install -D -m 644 systemd/tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/interlock.conf
	for page in $(PAGES); do \
		install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man$${page##*.} $$page || exit; \
	done
	for program in interlock interlockd; do \
		install -D -m 644 $(BUILD)/completion \
			$(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$program || exit; \
	done
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/interlock README.md CHANGELOG.md
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/interlock/examples config/interlock.conf $(EXAMPLES)

deb: all docs
	+config/deb/build $(BUILD) $(VERSION)

# What a fresh Debian 12 lacks. Only this, and what calls it, needs a network.
deps:
	@tests/deps

# PostgreSQL of its own and the daemon on 127.0.0.1:4000, until it is interrupted.
run: all
	CONF='$(CONF)' tests/serve

# deps may bring the very compiler, so what is built after it is built by another make.
demo: deps
	@$(MAKE) -s -j"$$(nproc)" all
	tests/client/demo.sh

check: deps
	tests/run

unit:
	tests/run unit

# Each target and the stateful fuzzer for so long: 60, 10m, 1h.
FOR = 60

fuzz: deps
	FOR=$(FOR) tests/run fuzz

# How much of each folder the unit tests and those of the wire execute.
coverage: deps
	tests/coverage

# The state machine in src/README.md; the lint of that name says when it is stale.
picture: $(BUILD)/interlockd
	sh src/picture.sh $< src/README.md > $(BUILD)/README.md && cp $(BUILD)/README.md src/README.md

bench: deps
	@$(MAKE) -s -j"$$(nproc)" all
	tests/bench/run

clean:
	rm -rf build

help:
	@echo 'make             build/interlockd, the daemon, and build/interlock, its command (SAN=1: with sanitizers)'
	@echo 'make deps        installs what a fresh Debian 12 lacks'
	@echo 'make demo        a real workflow, from the request to its outputs'
	@echo 'make run         the daemon with a PostgreSQL of its own (CONF=FILE: configured by it)'
	@echo 'make check       every test; tests/run GROUP... for some of them (PG=18: on PostgreSQL 18)'
	@echo 'make unit        the unit tests'
	@echo 'make fuzz        hostile input of every kind, for FOR=60 seconds each (or 10m, 1h)'
	@echo 'make coverage    how much of each folder the unit and wire tests execute'
	@echo 'make picture     redraws the state machine in src/README.md'
	@echo 'make bench       how fast it is here'
	@echo 'make install     into DESTDIR and PREFIX (/usr/local), with units, manual and completion'
	@echo 'make deb         a Debian package in build/'
	@echo 'make clean       removes build/'

.PHONY: all docs install deb units fuzzers next libraries deps run demo check unit fuzz coverage picture bench clean help
.DELETE_ON_ERROR:
