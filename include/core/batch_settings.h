/*
 * batch_settings: the settings of the daemon's connections to the database.
 */
#ifndef BATCH_SETTINGS_H
#define BATCH_SETTINGS_H

#include <stddef.h>

/* As db_config wants them: names and values, with the NULL at the end. */
enum { BATCH_SETTINGS = 25 };
extern const char *const batch_settings[BATCH_SETTINGS];
/* Puts those and the coordinator's name (borrowed), BATCH_SETTINGS + 1 words, into settings, which
 * is zeroed and has room for at least one more. Returns how many they are: further ones may follow.
 */
size_t batch_settings_of(const char *coordinator, const char **settings);

#endif
