/*
 * Lets a User Mode Linux kernel run on CPUs whose XSAVE area is larger than its buffer.
 *
 * UML 6.1 reads and writes a process's floating-point state by ptrace into a fixed buffer of 2,696 bytes. A CPU with a
 * larger area (AMX: 11 KiB) makes the host answer with a short read (accepted) and refuse the shorter write (fatal).
 * So, for that one register set, the whole area goes through a buffer of our own: on a read the caller sees the first
 * bytes of it, on a write the caller's bytes are laid over what the process has now.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

typedef long (*ptrace_fn)(int, pid_t, void *, void *);

static char area[256 * 1024] __attribute__((aligned(64)));

static long with_whole_area(ptrace_fn real, int request, pid_t pid, void *set, struct iovec *caller)
{
	struct iovec whole = { .iov_base = area, .iov_len = sizeof(area) };
	long result = real(PTRACE_GETREGSET, pid, set, &whole);
	size_t shared = caller->iov_len < whole.iov_len ? caller->iov_len : whole.iov_len;

	if (result < 0)
		return result;
	if (request == PTRACE_GETREGSET) {
		memcpy(caller->iov_base, area, shared);
		caller->iov_len = shared;
		return result;
	}
	memcpy(area, caller->iov_base, shared);
	return real(PTRACE_SETREGSET, pid, set, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
	static ptrace_fn real;
	va_list args;
	pid_t pid;
	void *addr, *data;

	va_start(args, request);
	pid = va_arg(args, pid_t);
	addr = va_arg(args, void *);
	data = va_arg(args, void *);
	va_end(args);

	if (!real)
		real = (ptrace_fn)(uintptr_t)dlsym(RTLD_NEXT, "ptrace");
	if (!real) {
		errno = ENOSYS;
		return -1;
	}
	if ((request == PTRACE_GETREGSET || request == PTRACE_SETREGSET) && (uintptr_t)addr == NT_X86_XSTATE && data)
		return with_whole_area(real, request, pid, addr, data);
	return real(request, pid, addr, data);
}
