/* rte_ethdev.h */
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim.h"

#define RX_OFFLOADS \
	(RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM | \
	 RTE_ETH_RX_OFFLOAD_TCP_CKSUM)

#define SPREAD (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP)

#define TX_CHECKSUMS (RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM)

static bool finishes_checksums(const struct rte_eth_dev_info *dev)
{
	return (dev->tx_offload_capa & TX_CHECKSUMS) == TX_CHECKSUMS;
}

uint32_t ms_eth_next(uint32_t from)
{
	return rte_eth_find_next_owned_by(from, RTE_ETH_DEV_NO_OWNER);
}

static void copy_name(char to[64], const char *from)
{
	to[0] = '\0';
	if (from != NULL)
		snprintf(to, 64, "%s", from);
}

int ms_eth_info(uint16_t port, struct ms_port_info *info)
{
	char name[RTE_ETH_NAME_MAX_LEN] = "", netdev[IF_NAMESIZE];
	struct rte_eth_dev_info dev;
	struct rte_ether_addr mac;
	int ret;

	memset(info, 0, sizeof(*info));
	ret = rte_eth_dev_info_get(port, &dev);
	if (ret != 0)
		return ret;
	ret = rte_eth_macaddr_get(port, &mac);
	if (ret != 0)
		return ret;
	ret = rte_eth_dev_get_mtu(port, &info->mtu);
	if (ret != 0)
		return ret;
	ret = rte_eth_dev_get_name_by_port(port, name);
	if (ret != 0)
		return ret;
	copy_name(info->name, name);
	copy_name(info->driver, dev.driver_name);
	if (dev.if_index != 0)
		copy_name(info->netdev, if_indextoname(dev.if_index, netdev));
	memcpy(info->mac, mac.addr_bytes, sizeof(info->mac));
	info->max_mtu = dev.max_mtu;
	info->max_rx_queues = dev.max_rx_queues;
	info->max_tx_queues = dev.max_tx_queues;
	info->rx_descriptors_min = dev.rx_desc_lim.nb_min;
	info->rx_descriptors_max = dev.rx_desc_lim.nb_max;
	info->tx_descriptors_min = dev.tx_desc_lim.nb_min;
	info->tx_descriptors_max = dev.tx_desc_lim.nb_max;
	info->socket = rte_eth_dev_socket_id(port);
	info->spreads_flows = (SPREAD & dev.flow_type_rss_offloads) != 0;
	info->verifies_checksums = (RX_OFFLOADS & dev.rx_offload_capa) == RX_OFFLOADS;
	info->finishes_checksums = finishes_checksums(&dev);
	return 0;
}

/* Drivers over a netdev (AF_XDP, AF_PACKET) say that the link is up whatever becomes of it. */
static void ask_kernel(unsigned int if_index, struct ms_link *link)
{
	struct ifreq netdev;
	int fd;

	memset(&netdev, 0, sizeof(netdev));
	if (if_indextoname(if_index, netdev.ifr_name) == NULL) {
		link->gone = errno == ENXIO;
		link->up = link->up && !link->gone;
		return;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (ioctl(fd, SIOCGIFFLAGS, &netdev) == 0)
		link->up = link->up && (netdev.ifr_flags & IFF_UP) != 0 &&
			   (netdev.ifr_flags & IFF_RUNNING) != 0;
	close(fd);
}

int ms_eth_link(uint16_t port, struct ms_link *out)
{
	struct rte_eth_dev_info dev;
	struct rte_eth_link link;
	int ret;

	memset(&link, 0, sizeof(link));
	ret = rte_eth_link_get_nowait(port, &link);
	if (ret != 0)
		return ret;
	out->up = link.link_status == RTE_ETH_LINK_UP;
	out->full_duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	out->speed_mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	out->gone = false;
	ret = rte_eth_dev_info_get(port, &dev);
	if (ret != 0)
		return ret;
	if (dev.if_index != 0)
		ask_kernel(dev.if_index, out);
	return 0;
}

static int setup_queues(uint16_t port, const struct ms_port_conf *conf, struct rte_mempool *mp,
			const char **failed_step)
{
	unsigned int socket = rte_eth_dev_socket_id(port);
	uint16_t q;
	int ret;

	*failed_step = "rte_eth_rx_queue_setup";
	for (q = 0; q < conf->rx_queues; q++) {
		ret = rte_eth_rx_queue_setup(port, q, conf->rx_descriptors, socket, NULL, mp);
		if (ret != 0)
			return ret;
	}
	*failed_step = "rte_eth_tx_queue_setup";
	for (q = 0; q < conf->tx_queues; q++) {
		ret = rte_eth_tx_queue_setup(port, q, conf->tx_descriptors, socket, NULL);
		if (ret != 0)
			return ret;
	}
	return 0;
}

int ms_eth_configure(uint16_t port, struct ms_port_conf *conf, struct rte_mempool *mp,
		     const char **failed_step)
{
	struct rte_eth_conf eth;
	struct rte_eth_dev_info dev;
	int ret;

	*failed_step = "rte_eth_dev_info_get";
	ret = rte_eth_dev_info_get(port, &dev);
	if (ret != 0)
		return ret;

	memset(&eth, 0, sizeof(eth));
	eth.rxmode.mtu = conf->mtu;
	eth.rxmode.offloads = RX_OFFLOADS & dev.rx_offload_capa;
	/* Allowed: there is one packet pool, and no mbuf ever has a second user. */
	eth.txmode.offloads = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE & dev.tx_offload_capa;
	if (finishes_checksums(&dev))
		eth.txmode.offloads |= TX_CHECKSUMS;
	eth.rx_adv_conf.rss_conf.rss_hf = SPREAD & dev.flow_type_rss_offloads;
	if (conf->rx_queues > 1 && eth.rx_adv_conf.rss_conf.rss_hf != 0)
		eth.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	else
		eth.rx_adv_conf.rss_conf.rss_hf = 0;

	*failed_step = "rte_eth_dev_configure";
	ret = rte_eth_dev_configure(port, conf->rx_queues, conf->tx_queues, &eth);
	if (ret != 0)
		return ret;
	*failed_step = "rte_eth_dev_adjust_nb_rx_tx_desc";
	ret = rte_eth_dev_adjust_nb_rx_tx_desc(port, &conf->rx_descriptors, &conf->tx_descriptors);
	if (ret != 0)
		return ret;
	return setup_queues(port, conf, mp, failed_step);
}

uint16_t ms_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, mbufs, n);
}

uint16_t ms_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, mbufs, n);
}
