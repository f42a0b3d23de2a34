//! Addresses and ports as the kernel keeps them, and what is remembered of a steered connection.
//!
//! IPv4 is written as IPv4-mapped IPv6 everywhere. A dual-stack socket that talks IPv4 (Java and Go open little else) then
//! has the same key as the plain IPv4 socket at its other end, and no map needs a family.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address: the 16 bytes of an IPv6 address in network order, four at a time because the kernel's contexts show them so.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Addr(pub [u32; 4]);

/// An address as the key of a trie of networks. The family comes first: `::/0` is no network of IPv4 addresses, which it would
/// be if only their mapped form were compared.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetKey {
    family: u32,
    /// The address.
    pub addr: Addr,
}

/// A port in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortBe(pub u16);

/// What a connection speaks on the wire, whatever the family of its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4, also from an IPv6 socket.
    V4,
    /// IPv6.
    V6,
}

/// One established direction of one connection: unique in the kernel at any moment, since the namespace is part of it. Two
/// pods may hold the same loopback tuple at once.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Cookie of the network namespace.
    pub netns: u64,
    /// Address of the side that connected.
    pub source: Addr,
    /// Address of the side that accepts.
    pub destination: Addr,
    /// Port of the side that connected.
    pub source_port: PortBe,
    /// Port of the side that accepts.
    pub destination_port: PortBe,
    /// Which of the connections that have had these ends, one after the other; zero where there is only one. A socket can be open longer
    /// than its connection keeps its port.
    pub number: u32,
}

/// The end of a connection that is hidden behind the agent. It lies with the socket (`BPF_MAP_TYPE_SK_STORAGE`) and dies with
/// it; a [`FlowKey`] map carries it from the connecting socket to the accepted one while they shake hands.
///
/// | socket | hidden end | who is told |
/// |---|---|---|
/// | the app's, steered at connect | where it wanted to go | the app, by `getpeername` |
/// | the app's, sent directly to an endpoint | the service it asked for | the app, by `getpeername` |
/// | the agent's, accepted from it | the same | the agent, by reading this |
/// | the agent's, connecting to an app | the client | nobody |
/// | the app's, accepted from it | the same | the app, by `accept` and `getpeername` |
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Address of the hidden end.
    pub addr: Addr,
    /// Port of the hidden end.
    pub port: PortBe,
    /// Whether the socket's owner shall see the hidden end as its peer.
    shown: u8,
    /// Whether the agent is not between: the connection goes from the app to an endpoint that the kernel chose.
    direct: u8,
    /// The pod whose connection this is.
    pub pod: u32,
}

/// What is asked of an address is one comparison of all its words at once, not one of each: every branch doubles what the kernel's
/// verifier walks of a program from there on, and what it learns of a word by comparing it keeps it from seeing that two ways are alike.
impl Addr {
    /// The address of an IPv4 address in network order.
    #[inline(always)]
    #[must_use]
    pub const fn v4(network_order: u32) -> Self {
        Self([0, 0, 0xffff_u32.to_be(), network_order])
    }

    /// The IPv4 address in network order, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn as_v4(&self) -> Option<u32> {
        if self.is_mapped() { Some(self.0[3]) } else { None }
    }

    /// What is spoken to this address.
    #[inline(always)]
    #[must_use]
    pub const fn family(&self) -> Family {
        if self.is_mapped() { Family::V4 } else { Family::V6 }
    }

    #[inline(always)]
    const fn is_mapped(&self) -> bool {
        self.apart_from_mapped() == 0
    }

    /// Zero for a mapped address: the bits in which the rest of it differs from `::ffff:0:0/96`.
    #[inline(always)]
    #[must_use]
    pub const fn apart_from_mapped(&self) -> u32 {
        self.0[0] | self.0[1] | (self.0[2] ^ 0xffff_u32.to_be())
    }

    /// The loopback address of a family.
    #[inline(always)]
    #[must_use]
    pub const fn loopback(family: Family) -> Self {
        match family {
            Family::V4 => Self::v4(0x7f00_0001_u32.to_be()),
            Family::V6 => Self([0, 0, 0, 1_u32.to_be()]),
        }
    }

    /// The unspecified address of a family.
    #[inline(always)]
    #[must_use]
    pub const fn any(family: Family) -> Self {
        match family {
            Family::V4 => Self::v4(0),
            Family::V6 => Self([0; 4]),
        }
    }

    /// Never leaves the namespace: `127.0.0.0/8`, `::1`, and the unspecified addresses, which `connect` takes for those.
    #[inline(always)]
    #[must_use]
    pub const fn is_local(&self) -> bool {
        let [a, b, c, d] = self.0;
        let short = a | b | c;
        // Each product is zero if one of its factors is.
        let v4 = self.apart_from_mapped() as u64 | (d as u64 * ((u32::from_be(d) >> 24) ^ 127) as u64);
        let v6 = short | (u32::from_be(d) & !1);
        v4 == 0 || v6 == 0
    }

    /// Only means something together with an interface (`fe80::/10`), which the agent would not know.
    #[inline(always)]
    #[must_use]
    pub const fn is_link_local(&self) -> bool {
        u32::from_be(self.0[0]) & 0xffc0_0000 == 0xfe80_0000
    }

    /// The 16 bytes in network order.
    #[inline(always)]
    #[must_use]
    pub const fn octets(&self) -> [u8; 16] {
        let [a, b, c, d] =
            [self.0[0].to_ne_bytes(), self.0[1].to_ne_bytes(), self.0[2].to_ne_bytes(), self.0[3].to_ne_bytes()];
        [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]]
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::v4(u32::from_ne_bytes(ip.octets())),
            IpAddr::V6(ip) => {
                let word = |at: usize| {
                    let o = ip.octets();
                    u32::from_ne_bytes([o[at], o[at + 1], o[at + 2], o[at + 3]])
                };
                Self([word(0), word(4), word(8), word(12)])
            }
        }
    }
}

impl From<Addr> for IpAddr {
    fn from(addr: Addr) -> Self {
        match addr.as_v4() {
            Some(v4) => Self::V4(Ipv4Addr::from(v4.to_ne_bytes())),
            None => Self::V6(Ipv6Addr::from(addr.octets())),
        }
    }
}

impl NetKey {
    /// Bits of a key.
    pub const BITS: u32 = 160;
    /// Bits before those of an IPv6 prefix.
    pub const BITS_BEFORE: u32 = 32;

    /// The key of an address.
    #[inline(always)]
    #[must_use]
    pub const fn new(addr: Addr) -> Self {
        Self { family: addr.family().slot(), addr }
    }

    /// Family and address, as they are compared.
    #[must_use]
    pub const fn parts(&self) -> (u32, Addr) {
        (self.family, self.addr)
    }
}

impl Family {
    /// Its place in the map of a pod's listeners.
    #[inline(always)]
    #[must_use]
    pub const fn slot(self) -> u32 {
        match self {
            Self::V4 => 0,
            Self::V6 => 1,
        }
    }
}

impl PortBe {
    /// From host order.
    #[inline(always)]
    #[must_use]
    pub const fn new(port: u16) -> Self {
        Self(port.to_be())
    }

    /// In host order.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }
}

impl FlowKey {
    /// The key of a connection.
    #[inline(always)]
    #[must_use]
    pub const fn new(
        netns: u64,
        (source, source_port): (Addr, PortBe),
        (destination, destination_port): (Addr, PortBe),
    ) -> Self {
        Self { netns, source, destination, source_port, destination_port, number: 0 }
    }

    /// The same ends' connection of which this is the number of the connecting side's first byte.
    #[inline(always)]
    #[must_use]
    pub const fn numbered(self, number: u32) -> Self {
        Self { number, ..self }
    }
}

impl Hidden {
    /// No end.
    pub const NOTHING: Self = Self { addr: Addr([0; 4]), port: PortBe(0), shown: 0, direct: 0, pod: 0 };

    /// Whether it is no end. Pods count from one.
    #[inline(always)]
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.pod == 0
    }

    /// For the app's own socket, steered while it connects to this address.
    #[inline(always)]
    #[must_use]
    pub const fn destination(pod: u32, addr: Addr, port: PortBe) -> Self {
        Self { addr, port, shown: 1, direct: 0, pod }
    }

    /// For the app's own socket that asked for this service and goes to an endpoint of it, past the agent.
    #[inline(always)]
    #[must_use]
    pub const fn service(pod: u32, addr: Addr, port: PortBe) -> Self {
        Self { addr, port, shown: 1, direct: 1, pod }
    }

    /// For the agent's socket that is about to connect to an app in the name of `client`.
    #[must_use]
    pub fn client(pod: u32, client: SocketAddr) -> Self {
        Self { addr: client.ip().into(), port: PortBe::new(client.port()), shown: 0, direct: 0, pod }
    }

    /// The same for the accepting socket of the connection: exactly one of the two is the agent's, and only the app is shown it.
    #[inline(always)]
    #[must_use]
    pub const fn for_other_side(self) -> Self {
        Self { shown: self.shown ^ 1, ..self }
    }

    /// Whether the socket's owner shall see the hidden end as its peer.
    #[inline(always)]
    #[must_use]
    pub const fn is_shown(&self) -> bool {
        self.shown != 0
    }

    /// Whether the agent is not between. Then the other side's socket is nobody's business but its owner's: nothing is carried
    /// to it.
    #[inline(always)]
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        self.direct != 0
    }

    /// Address and port.
    #[must_use]
    pub fn socket_addr(&self) -> SocketAddr {
        SocketAddr::new(self.addr.into(), self.port.get())
    }
}

const _: () = assert!(size_of::<Addr>() == 16);
const _: () = assert!(size_of::<PortBe>() == 2);
const _: () = assert!(size_of::<NetKey>() * 8 == NetKey::BITS as usize);
const _: () = assert!(size_of::<FlowKey>() == 48);
const _: () = assert!(size_of::<Hidden>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Addr {
        Addr::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn both_spellings_of_an_ipv4_address_are_one() {
        assert_eq!(addr("10.1.2.3"), addr("::ffff:10.1.2.3"));
        assert_eq!(addr("10.1.2.3").family(), Family::V4);
        assert_eq!(IpAddr::from(addr("::ffff:10.1.2.3")), "10.1.2.3".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn addresses_survive_the_border() {
        for text in ["0.0.0.0", "127.0.0.1", "255.255.255.255", "::", "::1", "fd00:1:2:3:4:5:6:7", "fe80::1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Addr::from(ip)), ip);
        }
    }

    #[test]
    fn local_is_loopback_and_unspecified() {
        for (text, local) in [
            ("127.0.0.1", true),
            ("127.255.0.9", true),
            ("0.0.0.0", true),
            ("::", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("128.0.0.1", false),
            ("0.0.0.1", false),
            ("::2", false),
            ("1::1", false),
        ] {
            assert_eq!(addr(text).is_local(), local, "{text}");
        }
        assert!(addr("fe80::1").is_link_local() && addr("febf::1").is_link_local());
        assert!(!addr("fec0::1").is_link_local() && !addr("169.254.1.1").is_link_local());
    }

    #[test]
    fn only_the_app_is_shown_the_hidden_end() {
        let app = Hidden::destination(1, addr("10.0.0.1"), PortBe::new(80));
        assert!(app.is_shown() && !app.for_other_side().is_shown());
        assert!(!app.is_direct());
        let direct = Hidden::service(1, addr("10.0.0.1"), PortBe::new(80));
        assert!(direct.is_shown() && direct.is_direct());
        let agent = Hidden::client(1, "10.0.0.9:4000".parse().unwrap());
        assert!(!agent.is_shown() && agent.for_other_side().is_shown());
        assert_eq!(agent.for_other_side().socket_addr(), "10.0.0.9:4000".parse().unwrap());
    }
}
