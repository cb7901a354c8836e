/* rte_malloc.h */
#include "shim.h"

size_t ms_heap_in_use(void)
{
	struct rte_malloc_socket_stats stats;
	size_t bytes = 0;
	unsigned int i;

	for (i = 0; i < rte_socket_count(); i++) {
		int socket = rte_socket_id_by_idx(i);

		if (socket >= 0 && rte_malloc_get_socket_stats(socket, &stats) == 0)
			bytes += stats.heap_allocsz_bytes;
	}
	return bytes;
}
