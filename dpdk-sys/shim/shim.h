/*
 * What Rust can't call in DPDK itself: static inlines, macros, and structs
 * whose layout or field names differ between DPDK releases. One .c file per
 * DPDK header. Everything here works on bursts or is off the packet path, so
 * that the call costs nothing that can be measured.
 */
#ifndef MULTISTACK_SHIM_H
#define MULTISTACK_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_memzone.h>
#include <rte_service_component.h>
#include <rte_version.h>

/* rte_mbuf_core.h: the offsets that the Rust mirror of rte_mbuf must have. */
enum ms_mbuf_layout {
	MS_MBUF_SIZE = sizeof(struct rte_mbuf),
	MS_MBUF_ALIGN = _Alignof(struct rte_mbuf),
	MS_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	MS_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	MS_MBUF_REFCNT = offsetof(struct rte_mbuf, refcnt),
	MS_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	MS_MBUF_PORT = offsetof(struct rte_mbuf, port),
	MS_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	MS_MBUF_PACKET_TYPE = offsetof(struct rte_mbuf, packet_type),
	MS_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	MS_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	MS_MBUF_VLAN_TCI = offsetof(struct rte_mbuf, vlan_tci),
	MS_MBUF_HASH = offsetof(struct rte_mbuf, hash),
	MS_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
	MS_MBUF_POOL = offsetof(struct rte_mbuf, pool),
	MS_MBUF_TX_OFFLOAD = offsetof(struct rte_mbuf, tx_offload),
};

static const uint32_t MS_MAX_LCORE = RTE_MAX_LCORE;
static const uint64_t MS_RX_IP_CKSUM_BAD = 1ULL << 4;
static const uint64_t MS_RX_L4_CKSUM_BAD = 1ULL << 3;
static const uint64_t MS_RX_IP_CKSUM_GOOD = 1ULL << 7;
static const uint64_t MS_RX_L4_CKSUM_GOOD = 1ULL << 8;
static const uint64_t MS_TX_TCP_CKSUM = 1ULL << 52;
static const uint64_t MS_TX_UDP_CKSUM = 3ULL << 52;
static const uint64_t MS_TX_IPV4 = 1ULL << 55;
static const uint64_t MS_TX_IPV6 = 1ULL << 56;
static const uint64_t MS_MBUF_EXTERNAL = 1ULL << 61;
static const uint64_t MS_MBUF_INDIRECT = 1ULL << 62;

/* rte_errno.h */
int ms_errno(void);

/* bus.c: takes the vdev bus from an EAL that is not initialised yet. */
void ms_leave_vdev_bus(void);

/* rte_log.h */
void ms_log_to_stderr(void);
/* Until then, every line goes to log_fd after a digit for its level; what comes
 * before an abort goes to stderr_fd as well. */
int ms_log_to_fd(int log_fd, int stderr_fd);
void ms_flush(void);

/* rte_cycles.h, rte_pause.h */
uint64_t ms_rdtsc(void);
uint16_t ms_max_simd_bits(void);
uint64_t ms_tsc_hz(void);
void ms_pause(void);

/* rte_lcore.h: UINT32_MAX on a thread that is not EAL's. */
uint32_t ms_lcore_id(void);

/* rte_malloc.h: bytes of the shared heap in use, of all sockets. */
size_t ms_heap_in_use(void);

/* rte_mbuf.h */
int ms_pktmbuf_alloc_bulk(struct rte_mempool *mp, struct rte_mbuf **mbufs, unsigned int n);

/* rte_mempool.h */
void ms_mempool_put_bulk(struct rte_mempool *mp, void *const *objs, unsigned int n);
uint32_t ms_mempool_stride(const struct rte_mempool *mp);
/* Creates the pool over the whole of one memzone; NULL and rte_errno on error. */
struct rte_mempool *ms_pktmbuf_pool_create(const char *name, uint32_t n, uint32_t cache,
					   uint16_t data_room, int socket, const char *ops,
					   const char **failed_step);

/* rte_memzone.h */
void *ms_memzone_addr(const struct rte_memzone *mz);
size_t ms_memzone_len(const struct rte_memzone *mz);

/* rte_ethdev.h */
struct ms_port_info {
	char name[64];
	char driver[64];
	char netdev[64]; /* that the driver works on, if any */
	uint8_t mac[6];
	uint16_t mtu;
	uint16_t max_mtu;
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint16_t rx_descriptors_min;
	uint16_t rx_descriptors_max;
	uint16_t tx_descriptors_min;
	uint16_t tx_descriptors_max;
	int socket;
	/* what of our wishes it does, see ms_eth_configure */
	bool spreads_flows; /* over receive queues */
	bool verifies_checksums;
	bool finishes_checksums;
};

struct ms_port_conf {
	uint16_t rx_queues;
	uint16_t tx_queues;
	uint16_t rx_descriptors; /* in: wanted, out: what the device takes */
	uint16_t tx_descriptors;
	uint16_t mtu; /* 0: the device's default */
};

struct ms_link {
	uint32_t speed_mbps; /* 0: unknown */
	bool up;
	bool full_duplex;
	bool gone; /* the netdev that the driver is over */
};

uint32_t ms_eth_next(uint32_t from);
int ms_eth_info(uint16_t port, struct ms_port_info *info);
int ms_eth_link(uint16_t port, struct ms_link *link);
int ms_eth_configure(uint16_t port, struct ms_port_conf *conf, struct rte_mempool *mp,
		     const char **failed_step);
uint16_t ms_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);
uint16_t ms_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);

#endif
