/* rte_bus.h, rte_bus_vdev.h */
#include <rte_bus.h>
#include <rte_bus_vdev.h>

#include "shim.h"

/* Exported by librte_eal for drivers; its header is not installed. */
void rte_bus_unregister(struct rte_bus *bus);

static void no_scan(void *arg)
{
	(void)arg;
}

void ms_leave_vdev_bus(void)
{
	struct rte_bus *bus;

	/* Does nothing, but has the bus linked and so registered already: EAL would otherwise
	 * load it as a plug-in, in rte_eal_init(), and it would be too early here. */
	rte_vdev_remove_custom_scan(no_scan, NULL);
	bus = rte_bus_find_by_name("vdev");
	if (bus != NULL)
		rte_bus_unregister(bus);
}
