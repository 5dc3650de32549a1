//! Payloads of remote devices: what a client sends executes or is malformed, and what a server says is facts or malformed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_driver::remote::{BusService, Clock, Facts, reply};
use tandem_driver::{Bus, Bytes, NullBus};
use tandem_isa::HwConfig;

fuzz_target!(|data: &[u8]| {
    let config = HwConfig::preset("tiny").expect("a preset");
    let mut bus = NullBus::new(&config);
    let memory = bus.alloc(Bytes(1 << 16)).expect("memory");
    let facts = Facts { name: "null".to_owned(), config, memory, clock: Clock::Estimated };
    if let Ok(reply) = reply(&mut BusService::new(Box::new(bus), facts), data) {
        assert!(reply.len() <= tandem_driver::remote::MAX_PAYLOAD);
    }
    if let Ok(facts) = Facts::parse(data) {
        assert_eq!(Facts::parse(&facts.bytes()), Ok(facts));
    }
});
