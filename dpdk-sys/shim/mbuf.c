/* rte_mbuf.h */
#include "shim.h"

#define SAME(ours, theirs) \
	_Static_assert((ours) == (theirs), "the Rust constant differs from DPDK's")

SAME(1ULL << 4, RTE_MBUF_F_RX_IP_CKSUM_BAD);
SAME(1ULL << 3, RTE_MBUF_F_RX_L4_CKSUM_BAD);
SAME(1ULL << 7, RTE_MBUF_F_RX_IP_CKSUM_GOOD);
SAME(1ULL << 8, RTE_MBUF_F_RX_L4_CKSUM_GOOD);
SAME(1ULL << 52, RTE_MBUF_F_TX_TCP_CKSUM);
SAME(3ULL << 52, RTE_MBUF_F_TX_UDP_CKSUM);
SAME(1ULL << 55, RTE_MBUF_F_TX_IPV4);
SAME(1ULL << 56, RTE_MBUF_F_TX_IPV6);
SAME(0, RTE_MBUF_L2_LEN_OFS);
SAME(7, RTE_MBUF_L3_LEN_OFS);
SAME(1ULL << 61, RTE_MBUF_F_EXTERNAL);
SAME(1ULL << 62, RTE_MBUF_F_INDIRECT);
SAME(1ULL << 1, RTE_MBUF_F_RX_RSS_HASH);
SAME(128, RTE_PKTMBUF_HEADROOM);

int ms_pktmbuf_alloc_bulk(struct rte_mempool *mp, struct rte_mbuf **mbufs, unsigned int n)
{
	return rte_pktmbuf_alloc_bulk(mp, mbufs, n);
}
