# Interlock. `make demo` shows it at work, `make check` tests it; `make help` lists the rest.

SAN ?=
CC = gcc
BUILD = build$(if $(SAN),/san)

PKGS = libwebsockets libuv libpq jansson libcrypto inih
override CFLAGS += -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings -Wvla -Wno-missing-field-initializers -fno-strict-aliasing \
	-fstack-protector-strong -D_FORTIFY_SOURCE=2 -D_GNU_SOURCE -Iinclude -I$(BUILD)/gen \
	$(shell pkg-config --cflags $(PKGS) 2>/dev/null)
override LDLIBS += $(shell pkg-config --libs $(PKGS) 2>/dev/null)
ifneq ($(SAN),)
override CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -U_FORTIFY_SOURCE
override LDFLAGS += -fsanitize=address,undefined
endif

SRC := $(wildcard src/*.c)
CLI_SRC := src/cli.c $(wildcard src/cli_*.c)
DAEMON_SRC := $(filter-out $(CLI_SRC),$(SRC))
# What the command shares with the daemon: nothing that listens.
SHARED := base slice stats conf sd crypt jwt stmt fsm
SQL := $(wildcard sql/migrations/*.sql sql/statements/*.sql sql/fragments/*.sql)

obj = $(patsubst src/%.c,$(BUILD)/%.o,$(1))

all: $(BUILD)/interlockd $(BUILD)/interlock

$(BUILD)/interlockd: $(call obj,$(DAEMON_SRC))
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/interlock: $(call obj,$(CLI_SRC)) $(SHARED:%=$(BUILD)/%.o)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/%.o: src/%.c | $(BUILD)/gen/sql.h
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# Every .sql file as a C string, a table for each folder.
$(BUILD)/gen/sql.h: $(SQL) src/embed.sh
	@mkdir -p $(@D)
	sh src/embed.sh $(SQL) > $@.tmp && mv $@.tmp $@

-include $(wildcard $(BUILD)/*.d $(BUILD)/*/*.d)

clean:
	rm -rf build

.PHONY: all clean
.DELETE_ON_ERROR:
