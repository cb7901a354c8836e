/* rte_mempool.h */
#include <rte_mbuf_pool_ops.h>

#include "shim.h"

void ms_mempool_put_bulk(struct rte_mempool *mp, void *const *objs, unsigned int n)
{
	rte_mempool_put_bulk(mp, objs, n);
}

uint32_t ms_mempool_stride(const struct rte_mempool *mp)
{
	return mp->header_size + mp->elt_size + mp->trailer_size;
}

struct rte_mempool *ms_pktmbuf_pool_create(const char *name, uint32_t n, uint32_t cache,
					   uint16_t data_room, int socket, const char *ops,
					   const char **failed_step)
{
	struct rte_pktmbuf_pool_private priv = { .mbuf_data_room_size = data_room };
	unsigned int zone_flags = RTE_MEMZONE_1GB | RTE_MEMZONE_SIZE_HINT_ONLY;
	const struct rte_memzone *mz;
	struct rte_mempool *mp;
	int ret;

	/*
	 * NO_IOVA_CONTIG: else populate skips to the next page rather than let
	 * an object straddle two, and base + index * stride is gone. The zone
	 * below is contiguous as a whole, so nothing is lost.
	 */
	*failed_step = "create";
	mp = rte_mempool_create_empty(name, n, sizeof(struct rte_mbuf) + data_room, cache,
				      sizeof(priv), socket, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	if (mp == NULL)
		return NULL;

	*failed_step = "ops";
	ret = rte_mempool_set_ops_byname(mp, ops != NULL ? ops : rte_mbuf_best_mempool_ops(), NULL);
	if (ret != 0)
		goto fail;
	rte_pktmbuf_pool_init(mp, &priv);

	*failed_step = "memory";
	if (rte_eal_iova_mode() == RTE_IOVA_PA)
		zone_flags |= RTE_MEMZONE_IOVA_CONTIG;
	mz = rte_memzone_reserve_aligned(name, (size_t)n * ms_mempool_stride(mp), socket,
					 zone_flags, RTE_CACHE_LINE_SIZE);
	if (mz == NULL) {
		ret = -rte_errno;
		goto fail;
	}

	*failed_step = "populate";
	ret = rte_mempool_populate_iova(mp, mz->addr, mz->iova, mz->len, NULL, NULL);
	if (ret >= 0 && (uint32_t)ret != n)
		ret = -ENOMEM;
	if (ret < 0) {
		rte_memzone_free(mz);
		goto fail;
	}
	rte_mempool_obj_iter(mp, rte_pktmbuf_init, NULL);
	return mp;

fail:
	rte_mempool_free(mp);
	rte_errno = -ret;
	return NULL;
}
