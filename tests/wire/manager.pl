#!/usr/bin/perl
# What systemd is to a service, for tests: holds its sockets, receives its notifications, lays out its
# credentials' folder for it, and minds the watchdog. Everything is real but the manager.
#
#   manager.pl [--socket ADDRESS]... [--notify] [--watchdog MICROSECONDS] [--credentials DIR]
#              [--journal PATH] PROGRAM [ARGUMENT]...
#
# It says on stdout, a line each: `socket ADDRESS`, `started PID`, `notify TEXT` (with \n as text),
# `watchdog` when the service was silent for too long, and is killed for it, `journal HEX`, `left STATUS`.
# It takes `restart` on stdin; SIGHUP and SIGTERM it hands on, and leaves with its service.
use strict;
use warnings;
use Fcntl;
use File::Temp qw(tempdir);
use IO::Select;
use POSIX qw(:sys_wait_h dup2);
use Socket;

$| = 1;
$^F = 1000; # what we open, the service inherits, unless it is said otherwise
my (@sockets, %option);
while (@ARGV && $ARGV[0] =~ /^--(\w+)$/) {
	my $name = $1;
	shift @ARGV;
	if ($name eq 'notify') { $option{notify} = 1 }
	elsif ($name eq 'socket') { push @sockets, listening(shift @ARGV) }
	else { $option{$name} = shift @ARGV }
}

# Seconds since some moment, whatever the clock on the wall does.
sub now { return (POSIX::times())[0] / POSIX::sysconf(POSIX::_SC_CLK_TCK) }

sub private { fcntl($_[0], F_SETFD, FD_CLOEXEC) or die; return $_[0] }

# Beyond the descriptors that the service will have it on.
sub listening {
	my ($address) = @_;
	my $socket;
	if ($address =~ m{^/}) {
		socket($socket, AF_UNIX, SOCK_STREAM, 0) && bind($socket, pack_sockaddr_un($address)) or die "$address: $!";
	} else {
		my ($host, $port) = $address =~ /^(.*):(\d+)$/;
		socket($socket, AF_INET, SOCK_STREAM, 0) && bind($socket, pack_sockaddr_in($port, inet_aton($host))) or die "$address: $!";
		($port) = unpack_sockaddr_in(getsockname $socket);
		$address = "$host:$port";
	}
	listen($socket, SOMAXCONN) or die;
	print "socket $address\n";
	my $high = fcntl($socket, F_DUPFD, 100) or die;
	open(my $moved, '<&=', $high) or die;
	return private($moved);
}

sub datagrams {
	my ($path) = @_;
	my $socket;
	socket($socket, AF_UNIX, SOCK_DGRAM, 0) && bind($socket, pack_sockaddr_un($path)) or die "$path: $!";
	chmod 0666, $path;
	return private($socket);
}

my $select = IO::Select->new(\*STDIN);
my ($notify, $journal);
if ($option{notify} || $option{watchdog}) {
	my $path = tempdir('interlock-manager-XXXXXX', TMPDIR => 1, CLEANUP => 1) . '/notify';
	$ENV{NOTIFY_SOCKET} = $path;
	$select->add($notify = datagrams($path));
}
$select->add($journal = datagrams($option{journal})) if $option{journal};
$ENV{CREDENTIALS_DIRECTORY} = $option{credentials} if $option{credentials};
$ENV{WATCHDOG_USEC} = $option{watchdog} if $option{watchdog};

my ($service, $notified, $ending, $again);

sub start {
	$notified = undef;
	$service = fork // die;
	if (!$service) {
		dup2(fileno($sockets[$_]), 3 + $_) // die "dup2: $!" for 0 .. $#sockets;
		@ENV{qw(LISTEN_PID LISTEN_FDS)} = ($$, scalar @sockets) if @sockets;
		$ENV{WATCHDOG_PID} = $$ if $option{watchdog};
		open(STDIN, '<', '/dev/null');
		exec(@ARGV) or die "$ARGV[0]: $!";
	}
	print "started $service\n";
}

$SIG{HUP} = sub { kill 'HUP', $service };
$SIG{TERM} = $SIG{INT} = sub { $ending = 1; kill 'TERM', $service };
$SIG{CHLD} = sub { }; # only to be woken
start();
for (;;) {
	for my $from ($select->can_read(0.1)) {
		if ($from == \*STDIN) {
			my $line = sysread(STDIN, my $text, 100);
			if (!$line) { $select->remove(\*STDIN) }
			elsif ($text =~ /^restart/) { $again = 1; kill 'TERM', $service }
			next;
		}
		recv($from, my $text, 65536, 0) // next;
		if ($journal && $from == $journal) {
			print 'journal ', unpack('H*', $text), "\n";
			next;
		}
		$notified = now() if $text =~ /^(READY=1|WATCHDOG=1)$/m;
		$text =~ s/\n/\\n/g;
		print "notify $text\n";
	}
	if ($option{watchdog} && $notified && now() - $notified > $option{watchdog} / 1e6) {
		print "watchdog\n";
		kill 'KILL', $service;
		$notified = undef;
	}
	if (waitpid($service, WNOHANG) > 0) {
		my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
		print "left $status\n";
		exit $status unless $again && !$ending;
		$again = 0;
		start();
	}
}
