/* rte_errno.h, rte_log.h, rte_cycles.h, rte_pause.h, rte_lcore.h, rte_vect.h */
/* rte_vect_get_max_simd_bitwidth is experimental up to 22.11, and has not changed since. */
#define ALLOW_EXPERIMENTAL_API

#include <rte_cycles.h>
#include <rte_pause.h>
#include <rte_vect.h>

#include "shim.h"

_Static_assert(LCORE_ID_ANY == UINT32_MAX, "Rust takes UINT32_MAX for no lcore");

int ms_errno(void)
{
	return rte_errno;
}

static FILE *log_stream;
static int log_to, panic_to;

static ssize_t log_write(void *cookie, const char *text, size_t size)
{
	int level = rte_log_cur_msg_loglevel();

	(void)cookie;
	dprintf(log_to, "%c%.*s", '0' + level, (int)size, text);
	if (level > 0 && level <= (int)RTE_LOG_CRIT)
		dprintf(panic_to, "%.*s", (int)size, text);
	return size;
}

int ms_log_to_fd(int log_fd, int stderr_fd)
{
	cookie_io_functions_t functions = { .write = log_write };

	log_to = log_fd;
	panic_to = stderr_fd;
	log_stream = fopencookie(NULL, "w", functions);
	if (log_stream == NULL)
		return -1;
	return rte_openlog_stream(log_stream);
}

void ms_log_to_stderr(void)
{
	rte_openlog_stream(stderr);
	if (log_stream != NULL)
		fclose(log_stream);
	log_stream = NULL;
}

void ms_flush(void)
{
	fflush(NULL);
}

uint64_t ms_rdtsc(void)
{
	return rte_rdtsc();
}

uint16_t ms_max_simd_bits(void)
{
	return rte_vect_get_max_simd_bitwidth();
}

uint64_t ms_tsc_hz(void)
{
	return rte_get_tsc_hz();
}

void ms_pause(void)
{
	rte_pause();
}

uint32_t ms_lcore_id(void)
{
	return rte_lcore_id();
}
