//! The server from its wire: on virtual time over pipes, and on loopback sockets.

mod fuzz;
mod load;
mod plain;
mod requests;
mod sockets;
mod wire;
mod world;
