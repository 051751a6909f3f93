/*
 * systemd: what a daemon needs of systemd, without its library: tell it how we are, take over the
 * sockets it listens on, read the secrets it hands out. Without systemd each of these does nothing,
 * and a secret's bytes never leave the caller's buffer.
 */
#include "lib/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_FD = 3, MAX_SECRET = 65536, STATUS_MS = 5000 };

void systemd_notify(const char *fmt, ...)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	char text[640];
	va_list ap;

	if (!path || !*path)
		return;
	size_t n = strlen(path);
	if (n >= sizeof(to.sun_path)) {
		log_warnx("NOTIFY_SOCKET is longer than a socket's path can be");
		return;
	}
	memcpy(to.sun_path, path, n);
	if (path[0] == '@')
		to.sun_path[0] = '\0';

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);

	/* An abstract name ends where the address ends: no NUL may follow. */
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
		sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to, size) < 0)
		log_warn("cannot notify systemd");
	if (fd >= 0)
		close(fd);
}

void systemd_status(const char *status)
{
	static char last_status[512];
	static int64_t told_at;
	char text[sizeof(last_status)];
	int64_t now = mono_ms();

	snprintf(text, sizeof(text), "%s", status);
	for (char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20)
			*c = ' '; /* a line of its own would be another message */
	if (strcmp(text, last_status) == 0 || (told_at != 0 && now - told_at < STATUS_MS))
		return;
	memcpy(last_status, text, sizeof(last_status));
	told_at = now;
	systemd_notify("STATUS=%s", last_status);
}

/* The stamp tells systemd which READY=1 belongs to it (Type=notify-reload). */
void systemd_reloading(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	systemd_notify(
		"RELOADING=1\nMONOTONIC_USEC=%jd", (intmax_t)t.tv_sec * 1000000 + t.tv_nsec / 1000);
}

/* The variable as a number; 0 if it is not one. */
static long env_number(const char *name)
{
	const char *text = getenv(name);
	return text ? strtol(text, NULL, 10) : 0;
}

int64_t systemd_watchdog_ms(void)
{
	const char *pid = getenv("WATCHDOG_PID");
	long usec = env_number("WATCHDOG_USEC");

	/* Another process' watchdog if the variables were only inherited. */
	if (usec <= 0 || (pid != NULL && env_number("WATCHDOG_PID") != getpid()))
		return 0;
	return usec / 2000 > 0 ? usec / 2000 : 1;
}

/* The names of the sockets, each with its NUL; NULL: there are none. */
static char *listen_names;

/* The names are separated by colons, which they cannot contain. */
static void keep_names(void)
{
	const char *names = getenv("LISTEN_FDNAMES");

	free(listen_names);
	listen_names = names ? xasprintf("%s:", names) : NULL; /* a last one that is empty */
	for (char *c = listen_names; c && (c = strchr(c, ':')) != NULL;)
		*c++ = '\0';
}

int systemd_listen_fd(int i)
{
	return FIRST_FD + i;
}

const char *systemd_listen_name(int i)
{
	const char *name = listen_names ? listen_names : "";

	while (*name && i-- > 0)
		name += strlen(name) + 1;
	return name;
}

int systemd_listen_fds(void)
{
	/* Another process' sockets if the variables were only inherited. */
	long n = env_number("LISTEN_PID") == getpid() ? env_number("LISTEN_FDS") : 0;

	keep_names();
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	int count = 0;
	while (count < n && fcntl(FIRST_FD + count, F_SETFD, FD_CLOEXEC) == 0)
		count++;
	if (count < n)
		log_warnx("LISTEN_FDS is %ld, but only %d descriptors are open", n, count);
	return count;
}

/* Appends the file without the newline at its end; false with errno set, and b as it was. */
static bool read_file(const char *path, struct buf *b)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t start = b->n;
	ssize_t n;

	if (fd < 0)
		return false;
	buf_reserve(b, MAX_SECRET + 1);
	while ((n = read(fd, b->p + b->n, start + MAX_SECRET + 1 - b->n)) > 0)
		b->n += (size_t)n;
	int error = n < 0 ? errno : 0;
	close(fd);
	if (!error && b->n - start > MAX_SECRET)
		error = EFBIG;
	if (b->n > start && b->p[b->n - 1] == '\n')
		b->n--;
	if (!error && b->n == start)
		error = ENODATA; /* an empty key would sign and verify anything */
	if (error)
		b->n = start;
	b->p[b->n] = '\0';
	errno = error;
	return error == 0;
}

char *systemd_secret_path(const char *path, const char *name)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");

	if (path && *path)
		return xstrdup(path);
	return xasprintf("%s/%s", folder && *folder ? folder : SD_SECRETS, name);
}

bool systemd_has_secret(const char *path, const char *name)
{
	char *file = systemd_secret_path(path, name);
	bool there = (path && *path) || access(file, F_OK) == 0;

	free(file);
	return there;
}

bool systemd_read_secret(const char *path, const char *name, struct buf *b, struct buf *err)
{
	char *file = systemd_secret_path(path, name);
	bool ok = read_file(file, b);

	if (!ok)
		buf_addf(err, "%s: cannot read %s: %s", name, file, strerror(errno));
	free(file);
	return ok;
}
