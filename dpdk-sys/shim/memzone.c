/* rte_memzone.h */
#include "shim.h"

void *ms_memzone_addr(const struct rte_memzone *mz)
{
	return mz->addr;
}

size_t ms_memzone_len(const struct rte_memzone *mz)
{
	return mz->len;
}
