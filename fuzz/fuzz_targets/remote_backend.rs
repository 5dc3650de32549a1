//! Payloads of remote backends: what a client sends is done within bounds, refused or malformed, and no kernel panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_driver::remote::reply;
use tandem_runtime::CpuBackend;
use tandem_runtime::remote::{BackendService, Bounds, Facts, Kind};

fuzz_target!(|data: &[u8]| {
    let bounds = Bounds { request: 1 << 20, held: 1 << 22, handles: 4, work: 1 << 22, samples: 64 };
    let facts = Facts { kind: Kind::Cpu, name: "cpu".to_owned(), model: "a processor".to_owned(), most: 0 };
    let mut service = BackendService::new(Box::new(CpuBackend), facts, bounds);
    // A segment of the first half is there for the second one to run.
    let (first, second) = data.split_at(data.len() / 2);
    for request in [data, first, second] {
        if let Ok(reply) = reply(&mut service, request) {
            assert!(!String::from_utf8_lossy(&reply).contains("broken down"));
        }
    }
    if let Ok(facts) = Facts::parse(data) {
        assert_eq!(Facts::parse(&facts.bytes()), Ok(facts));
    }
});
