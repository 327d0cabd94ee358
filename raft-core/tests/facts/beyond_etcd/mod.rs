//! What this core promises beyond etcd's: typed reasons, no panic whatever peers, disks and
//! storages say, and a few features of other implementations.

mod damaged;
mod knobs;
mod memory;
mod messages;
mod odd;
mod reasons;
mod storages;
mod stored;
mod wire;
