//! Backends of another machine, with both ends in this process and a real connection between them.

mod network;

use network::{Maker, compiler, network};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tandem_driver::remote::{
    Connection, Cursor, Limits, Malformed, RemoteBus, Served, Service, Token, put_bytes, reply, serve,
};
use tandem_driver::serial::{Noise, Port, TcpPort};
use tandem_gpu::{Device as Gpu, Simulation};
use tandem_graph::{Graph, Node, interpret};
use tandem_ops::{Act, Arith, Op};
use tandem_plan::{Device, partition};
use tandem_runtime::remote::{BackendService, Bounds, Facts, Kind, RemoteBackend};
use tandem_runtime::{Backend, CpuBackend, ErrorClass, Executable, Executor, GpuBackend, RuntimeError, Taken};
use tandem_tensor::{DType, Tensor};

const LIMIT: Duration = Duration::from_secs(60);

fn token() -> Token {
    Token::new(b"the token of these tests").unwrap()
}

fn facts(kind: Kind) -> Facts {
    Facts { kind, name: "cpu".to_owned(), model: "a processor".to_owned(), most: 0 }
}

/// A server in a thread that ends with the tests.
fn server(service: impl Service + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { turn: LIMIT, penalty: Duration::ZERO, ..Limits::default() };
    std::thread::spawn(move || serve(&listener, Box::new(service), &token(), &limits, &|_| ()));
    address
}

fn served(backend: impl Backend + 'static, bounds: Bounds) -> SocketAddr {
    server(BackendService::new(Box::new(backend), facts(Kind::Gpu), bounds))
}

fn connection(address: SocketAddr) -> Connection<TcpPort> {
    Connection::open(TcpPort::connect(&address.to_string()).unwrap(), &token(), LIMIT).unwrap()
}

fn client(address: SocketAddr) -> RemoteBackend<TcpPort> {
    RemoteBackend::on(connection(address)).unwrap()
}

/// A device like the CPU that runs dense layers and convolutions, with what a test wants of it.
#[derive(Clone, Default)]
struct Odd {
    /// Segments that there are.
    alive: Arc<AtomicUsize>,
    /// What compiling gives instead.
    refuses: Option<ErrorClass>,
    /// Whether running panics.
    panics: bool,
}

struct OddSegment(Box<dyn Executable>, Odd);

impl Backend for Odd {
    fn device(&self) -> Device {
        Device::Gpu(0)
    }
    fn supports(&self, _: &Graph, node: &Node) -> Result<(), String> {
        let runs = matches!(node.op, Op::Dense { .. } | Op::Conv(_));
        if runs { Ok(()) } else { Err(format!("no {} here", node.op.name())) }
    }
    fn project(&self, graph: &Graph, node: &Node) -> Option<Duration> {
        matches!(node.op, Op::Dense { .. }).then(|| Duration::from_nanos(graph.macs(node)))
    }
    fn compile(&mut self, segment: &Graph) -> Result<Box<dyn Executable>, RuntimeError> {
        if let Some(class) = self.refuses {
            return Err(RuntimeError::Remote { class, text: "it is odd".to_owned() });
        }
        self.alive.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(OddSegment(CpuBackend.compile(segment)?, self.clone())))
    }
    fn measure(&mut self, graph: &Graph, _: &mut dyn FnMut()) -> Result<Vec<Result<Taken, String>>, RuntimeError> {
        let one = |(n, node): (usize, &Node)| {
            let wall = Duration::from_micros(n as u64);
            self.supports(graph, node).map(|()| Taken { wall, cycles: Some(5), copies: Vec::new() })
        };
        Ok(graph.nodes.iter().enumerate().map(one).collect())
    }
}

impl Executable for OddSegment {
    fn samples(&self) -> usize {
        3
    }
    fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        assert!(!self.1.panics, "as it was asked to");
        self.0.run(samples)
    }
}

impl Drop for OddSegment {
    fn drop(&mut self) {
        self.1.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Two dense layers.
fn small(seed: u64) -> Maker {
    let mut m = Maker::new(Arith::TfliteRef, DType::I8, seed);
    let x = m.input(&[1, 12]);
    let y = m.weighted(Op::Dense { act: Act::Relu }, x, &[9, 12]);
    let z = m.weighted(Op::Dense { act: Act::None }, y, &[4, 9]);
    m.graph.outputs.extend([z, y]);
    m.graph.verify().unwrap();
    m
}

#[test]
fn networks_are_the_same_there_and_here_in_one_round_trip_a_run() {
    let address = served(CpuBackend, Bounds::default());
    let mut remote = client(address);
    let monitor = remote.monitor();
    for (seed, dtype) in [(1, DType::I8), (2, DType::U8), (3, DType::I8), (4, DType::U8)] {
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            let mut m = network(arith, dtype, seed);
            let before = monitor.traffic().round_trips;
            assert!(m.graph.nodes.iter().all(|node| remote.supports(&m.graph, node).is_ok()));
            assert!(m.graph.nodes.iter().all(|node| remote.project(&m.graph, node).is_none()));
            let mut segment = remote.compile(&m.graph).unwrap();
            for count in [1, 3, 0] {
                let samples = m.samples(count);
                let found = segment.run(&samples).unwrap();
                let expected: Vec<_> = samples.iter().map(|sample| interpret(&m.graph, sample).unwrap()).collect();
                assert_eq!(found, expected, "{arith:?} {dtype} {seed}");
            }
            // All nodes together, the segment, and each run.
            assert_eq!(monitor.traffic().round_trips - before, 5);
            assert!(segment.copied().wall > Duration::ZERO);
        }
    }
}

#[test]
fn networks_are_the_same_on_the_simulator_of_kernels_there_and_here() {
    let Some(compiler) = compiler() else { return };
    let gpu = |seed| GpuBackend::new(Gpu::sim(Arc::clone(&compiler), Simulation::seeded(seed)));
    let kind = Facts { name: "ptx".to_owned(), ..facts(Kind::SimulatedGpu) };
    let address = server(BackendService::new(Box::new(gpu(1)), kind.clone(), Bounds::default()));
    let mut remote = client(address).with_device(Device::Gpu(2));
    assert_eq!(remote.device(), Device::Gpu(2));
    assert_eq!(remote.facts(), &Facts { most: 1 << 30, ..kind });
    let mut local = gpu(1);
    for (seed, dtype) in [(5, DType::I8), (6, DType::U8)] {
        let mut m = network(Arith::Xnnpack, dtype, seed);
        let samples = m.samples(2);
        let (mut here, mut there) = (local.compile(&m.graph).unwrap(), remote.compile(&m.graph).unwrap());
        let found = there.run(&samples).unwrap();
        assert_eq!(found, here.run(&samples).unwrap());
        assert_eq!(found[1], interpret(&m.graph, &samples[1]).unwrap());
        assert_eq!((there.copied().bytes, there.copied().count), (here.copied().bytes, here.copied().count));
        for node in &m.graph.nodes {
            assert_eq!(remote.supports(&m.graph, node), local.supports(&m.graph, node));
            assert_eq!(remote.project(&m.graph, node), local.project(&m.graph, node));
        }
        let (mut seen, link) = (0, remote.link());
        let taken = remote.measure(&m.graph, &mut || seen += 1).unwrap();
        assert_eq!((seen, taken.len()), (m.graph.nodes.len(), m.graph.nodes.len()));
        for (node, taken) in m.graph.nodes.iter().zip(taken) {
            let taken = taken.unwrap();
            assert!(taken.copies.len() >= 2, "{}", node.name);
            assert!(taken.copies.iter().all(|copied| copied.wall.as_secs_f64() >= link.latency_s / 2.0), "{taken:?}");
        }
    }
}

#[test]
fn what_a_backend_says_of_nodes_arrives_and_graphs_are_told_apart() {
    let mut remote = client(served(Odd::default(), Bounds::default()));
    let (a, b) = (network(Arith::TfliteRef, DType::I8, 3).graph, small(1).graph);
    // The same with a weight that comes from the caller.
    let mut c = b.clone();
    let weight = c.nodes[0].inputs[1];
    c.values[weight.0].constant = None;
    c.inputs.push(weight);
    c.verify().unwrap();
    let odd = Odd::default();
    let before = remote.monitor().traffic().round_trips;
    for graph in [&a, &b, &c, &a] {
        for node in &graph.nodes {
            assert_eq!(remote.supports(graph, node), odd.supports(graph, node));
            let known = odd.supports(graph, node).ok().and_then(|()| odd.project(graph, node));
            assert_eq!(remote.project(graph, node), known);
        }
        let stranger = Node { name: "other".into(), ..graph.nodes[0].clone() };
        assert!(remote.supports(graph, &stranger).is_err());
    }
    assert_eq!(remote.monitor().traffic().round_trips - before, 4);
    let taken = remote.measure(&a, &mut || ()).unwrap();
    for ((n, node), taken) in a.nodes.iter().enumerate().zip(taken) {
        let expected = odd.supports(&a, node).map(|()| (Duration::from_micros(n as u64), Some(5)));
        assert_eq!(taken.clone().map(|taken| (taken.wall, taken.cycles)), expected);
        // The device copies nothing, but the link does.
        assert!(taken.is_err() || taken.unwrap().copies.iter().all(|copied| copied.wall > Duration::ZERO));
    }
    assert_eq!(remote.compile(&b).unwrap().samples(), 3);
}

#[test]
fn errors_keep_their_class_and_the_connection_goes_on() {
    use ErrorClass::{Exhausted, Fault, Invalid, Unavailable, Unsupported};
    for class in [Unsupported, Invalid, Exhausted, Fault, Unavailable] {
        let odd = Odd { refuses: Some(class), ..Odd::default() };
        let mut remote = client(served(odd, Bounds::default()));
        let error = remote.compile(&small(1).graph).err().unwrap();
        assert_eq!((error.class(), error.to_string().as_str()), (class, "it is odd"));
        assert!(remote.supports(&small(1).graph, &small(1).graph.nodes[0]).is_ok());
    }
    let odd = Odd::default();
    let mut remote = client(served(odd.clone(), Bounds::default()));
    let mut m = small(2);
    let mut segment = remote.compile(&m.graph).unwrap();
    let error = segment.run(&[Vec::new()]).unwrap_err();
    assert_eq!(error.class(), Invalid);
    assert!(error.to_string().contains("sample 0 does not fit"), "{error}");
    // A graph that breaks a rule.
    let mut broken = m.graph.clone();
    broken.values[0].ty.shape = [1, 13].into();
    assert_eq!(remote.compile(&broken).err().unwrap().class(), Invalid);
    let sample = m.samples(1);
    assert_eq!(segment.run(&sample).unwrap()[0], interpret(&m.graph, &sample[0]).unwrap());
    assert_eq!(odd.alive.load(Ordering::Relaxed), 1);
    // What was released goes with the next request.
    drop(segment);
    assert_eq!(remote.compile(&m.graph).unwrap().samples(), 3);
    assert_eq!(odd.alive.load(Ordering::Relaxed), 1);
}

#[test]
fn what_a_client_holds_is_bounded_and_given_up_when_it_leaves() {
    let (odd, mut m) = (Odd::default(), small(3));
    let bytes: u64 = m.graph.values.iter().map(|value| value.ty.bytes() as u64).sum();
    let bounds = Bounds { handles: 2, request: 3000, ..Bounds::default() };
    let address = served(odd.clone(), bounds);
    let mut remote = client(address);
    let held = [remote.compile(&m.graph).unwrap(), remote.compile(&m.graph).unwrap()];
    let error = remote.compile(&m.graph).err().unwrap();
    assert_eq!(error.class(), ErrorClass::Exhausted);
    assert!(error.to_string().contains("2 segments"), "{error}");
    let large = network(Arith::TfliteRef, DType::I8, 1).graph;
    let error = remote.compile(&large).err().unwrap();
    assert_eq!(error.class(), ErrorClass::Exhausted);
    assert!(error.to_string().contains("takes 3000 at most"), "{error}");
    // A client that is gone without a word leaves nothing.
    assert_eq!(odd.alive.load(Ordering::Relaxed), 2);
    drop((held, remote));
    let mut remote = client(address);
    assert_eq!(remote.compile(&m.graph).unwrap().samples(), 3);
    assert_eq!(odd.alive.load(Ordering::Relaxed), 1);

    let mut remote = client(served(Odd::default(), Bounds { held: bytes * 3 / 2, handles: 2, ..Bounds::default() }));
    let first = remote.compile(&m.graph).unwrap();
    let error = remote.compile(&m.graph).err().unwrap();
    assert_eq!(error.class(), ErrorClass::Exhausted);
    assert!(error.to_string().contains(&format!("{bytes} bytes")), "{error}");
    drop(first);
    // What was given up does not add up.
    for _ in 0..10 {
        assert!(remote.compile(&m.graph).is_ok());
    }

    let work: u64 = m.graph.nodes.iter().map(|node| m.graph.macs(node)).sum();
    let mut remote = client(served(Odd::default(), Bounds { work: 2 * work, ..Bounds::default() }));
    let mut segment = remote.compile(&m.graph).unwrap();
    assert!(segment.run(&m.samples(2)).is_ok());
    assert_eq!(segment.run(&m.samples(3)).unwrap_err().class(), ErrorClass::Unsupported);
    let mut remote = client(served(Odd::default(), Bounds { work: work - 1, ..Bounds::default() }));
    assert_eq!(remote.compile(&m.graph).err().unwrap().class(), ErrorClass::Unsupported);
}

#[test]
fn a_device_that_panics_is_a_fault_and_the_server_goes_on() {
    let odd = Odd { panics: true, ..Odd::default() };
    let mut remote = client(served(odd.clone(), Bounds::default()));
    let mut m = small(4);
    let mut segment = remote.compile(&m.graph).unwrap();
    let error = segment.run(&m.samples(1)).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fault);
    assert!(error.to_string().contains("has broken down"), "{error}");
    assert_eq!(odd.alive.load(Ordering::Relaxed), 0);
    let error = segment.run(&m.samples(1)).unwrap_err();
    assert!(error.to_string().contains("holds no segment 0"), "{error}");
    drop(segment);
    assert!(remote.compile(&m.graph).is_ok());
}

/// A connection that is cut before it sends so many times.
struct Cut(TcpPort, usize);

impl Port for Cut {
    fn name(&self) -> String {
        self.0.name()
    }
    fn now(&mut self) -> Duration {
        self.0.now()
    }
    fn send(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        self.1 = self.1.checked_sub(1).ok_or(io::ErrorKind::ConnectionReset)?;
        self.0.send(bytes, limit)
    }
    fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
        self.0.receive(bytes, limit)
    }
    fn reopen(&mut self) -> io::Result<()> {
        self.0.reopen()
    }
}

#[test]
fn a_hundred_requests_are_answered_though_the_connection_is_cut_among_them() {
    let address = served(Odd::default(), Bounds::default());
    for (sends, branches) in [(60, false), (90, true)] {
        let mut m = network(Arith::TfliteRef, DType::I8, 7);
        let port = Cut(TcpPort::connect(&address.to_string()).unwrap(), sends);
        let remote = RemoteBackend::on(Connection::open(port, &token(), LIMIT).unwrap()).unwrap();
        let monitor = remote.monitor();
        let plan = partition(&m.graph, Device::Gpu(0), |node| remote.supports(&m.graph, node));
        let mut backends: Vec<Box<dyn Backend>> = vec![Box::new(remote), Box::new(CpuBackend)];
        let executor = Executor::new(&m.graph, &plan, &mut backends).unwrap();
        let mut executor = executor.with_spares(backends);
        let samples = m.samples(100);
        let mut found = Vec::new();
        if branches {
            found = executor.stream(&samples, 1, 4, &mut |_| ()).unwrap();
        } else {
            for sample in &samples {
                found.append(&mut executor.run(std::slice::from_ref(sample)).unwrap());
            }
        }
        for (sample, found) in samples.iter().zip(&found) {
            assert_eq!(&interpret(&m.graph, sample).unwrap(), found);
        }
        let [failure] = executor.failures() else { panic!("{:?}", executor.failures()) };
        assert_eq!((failure.device, failure.fallback), (Device::Gpu(0), Device::Cpu));
        assert!(failure.sample > 0 && failure.error.contains("connection reset"), "{failure}");
        assert!(monitor.lost().is_some());
    }
}

#[test]
fn other_things_are_told_apart() {
    let address = served(CpuBackend, Bounds::default());
    let error = RemoteBus::on(connection(address)).unwrap_err();
    assert!(error.to_string().contains("serves no accelerator"), "{error}");
    let error = RemoteBackend::on(connection(server(Liar(Vec::new())))).err().unwrap();
    assert!(error.to_string().contains("serves what this version does not know"), "{error}");
    let far = server(BackendService::new(Box::new(CpuBackend), facts(Kind::Cpu), Bounds::default()));
    assert_eq!(client(far).device(), Device::FarCpu(0));
}

/// Numbers and bytes from a seed.
struct Random(Noise);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u32) as usize
    }

    /// Bytes that were right, with some changed, doubled, missing, or cut off.
    fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().max(1));
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = [0, 0xff, 0x80, 0x7f][self.below(4)],
                // Digits are what extents and the numbers of values are made of.
                2 if at < bytes.len() => bytes[at] = b'0' + self.below(10) as u8,
                3 if at < bytes.len() => drop(bytes.remove(at)),
                4 => bytes.insert(at, self.below(256) as u8),
                _ if self.below(8) == 0 => bytes.truncate(at),
                _ => {}
            }
        }
        bytes
    }
}

/// Takes down what a client asks, and has a backend answer.
struct Scribe(BackendService, std::sync::mpsc::Sender<(Vec<u8>, Vec<u8>)>);

impl Service for Scribe {
    fn served(&self) -> Served {
        self.0.served()
    }
    fn most(&self) -> usize {
        self.0.most()
    }
    fn answer(&mut self, request: &[u8], reply: &mut Vec<u8>) -> Result<bool, Malformed> {
        let begin = reply.len();
        let done = self.0.answer(request, reply)?;
        self.1.send((request.to_vec(), reply[begin..].to_vec())).unwrap();
        Ok(done)
    }
    fn leave(&mut self) {
        self.0.leave();
    }
}

/// Every kind of request of an honest client, in order, with what was answered.
fn spoken(m: &mut Maker) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (sender, taken) = std::sync::mpsc::channel();
    let service = BackendService::new(Box::new(CpuBackend), facts(Kind::Gpu), Bounds::default());
    let mut remote = client(server(Scribe(service, sender)));
    remote.supports(&m.graph, &m.graph.nodes[0]).unwrap();
    let mut segment = remote.compile(&m.graph).unwrap();
    segment.run(&m.samples(2)).unwrap();
    drop(segment);
    remote.measure(&m.graph, &mut || ()).unwrap();
    drop(remote);
    taken.try_iter().collect()
}

#[test]
fn a_request_that_is_cut_off_is_malformed_wherever_that_is() {
    let mut service = BackendService::new(Box::new(CpuBackend), facts(Kind::Gpu), Bounds::default());
    for (request, _) in spoken(&mut small(5)) {
        for end in 0..request.len() {
            assert_eq!(reply(&mut service, &request[..end]), Err(Malformed), "{end} of {}", request.len());
        }
        assert_eq!(reply(&mut service, &request).unwrap()[0], 0);
    }
}

#[test]
fn tensors_of_other_types_are_refused_by_either_side() {
    let mut m = small(9);
    let [inspect, compile, run, _] = <[_; 4]>::try_from(spoken(&mut m)).unwrap();
    // The first byte of a tensor is its dtype: codes of a u8 have as many bytes.
    let mut service = BackendService::new(Box::new(CpuBackend), facts(Kind::Gpu), Bounds::default());
    assert_eq!(reply(&mut service, &compile.0).unwrap()[0], 0);
    let mut wrong = run.0.clone();
    wrong[4 + 1 + 4 + 4] = 2;
    let answer = reply(&mut service, &wrong).unwrap();
    assert!(answer[0] == 1 && String::from_utf8_lossy(&answer).contains("a sample does not fit: it has a u8"));
    let mut wrong = run.1.clone();
    wrong[24] = 2;
    for (answer, right) in [(run.1, true), (wrong, false)] {
        let mut remote = client(server(Liar(vec![answer, compile.1.clone(), inspect.1.clone()])));
        assert!(remote.supports(&m.graph, &m.graph.nodes[0]).is_ok());
        let found = remote.compile(&m.graph).unwrap().run(&m.samples(2));
        assert_eq!((found.is_ok(), remote.monitor().lost().is_none()), (right, right), "{found:?}");
    }
}

#[test]
fn ten_thousand_wrong_requests_neither_stop_the_server_nor_take_more_than_they_may() {
    let bounds = Bounds { request: 1 << 20, held: 1 << 22, handles: 8, work: 1 << 22, samples: 64 };
    let odd = Odd::default();
    let mut service = BackendService::new(Box::new(odd.clone()), facts(Kind::Gpu), bounds);
    let mut honest = spoken(&mut small(6));
    honest.extend(spoken(&mut network(Arith::Xnnpack, DType::U8, 3)));
    // Zeros in the place of constants of a graph that would be too large.
    let text = "graph \"g\" tflref\ninput %0 \"x\" i8[1]\nvalue %1 \"c\" i8[1073741824]\noutput %0\n";
    let mut zeros = [0, 0, 0, 0, 1].to_vec();
    put_bytes(&mut zeros, text.as_bytes());
    zeros.extend([1, 0, 0, 0, 1, 0, 0, 0, 0]);
    let answer = reply(&mut service, &zeros).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("1073741825 bytes"), "{answer:?}");
    // It is refused before its constants are read.
    assert_eq!(reply(&mut service, &zeros[..zeros.len() - 9]).unwrap()[9..], answer[9..]);
    honest.push((zeros, Vec::new()));
    // No more handles are released than there can be.
    let released = |count: u32| [&count.to_le_bytes()[..], &vec![0; 4 * count as usize], &honest[0].0[4..]].concat();
    assert_eq!(reply(&mut service, &released(8)).unwrap()[0], 0);
    assert_eq!(reply(&mut service, &released(9)), Err(Malformed));
    let mut random = Random(Noise::new(77, 0));
    let (mut malformed, mut refused, mut done) = (0, 0, 0);
    for round in 0..10_000 {
        let request = match round % 8 {
            0 => (0..random.below(200)).map(|_| random.below(256) as u8).collect(),
            _ => {
                let at = random.below(honest.len());
                random.mutated(honest[at].0.clone())
            }
        };
        match reply(&mut service, &request) {
            Err(Malformed) => malformed += 1,
            Ok(answer) if answer[0] == 1 => {
                let text = String::from_utf8_lossy(&answer);
                assert!(!text.contains("broken down"), "{text}: {}", String::from_utf8_lossy(&request));
                refused += 1;
            }
            Ok(answer) => {
                assert!(answer.len() <= 1 << 21);
                done += 1;
            }
        }
        assert!(odd.alive.load(Ordering::Relaxed) <= bounds.handles);
        if round % 500 == 0 {
            service.leave();
        }
    }
    assert!(malformed > 1000 && refused > 500 && done > 500, "{malformed} {refused} {done}");
    // The same over a connection, where a malformed request costs the client its turn.
    let address = server(service);
    for _ in 0..300 {
        let mut connection = connection(address);
        while !connection.is_lost() {
            let at = random.below(honest.len());
            let request = random.mutated(honest[at].0.clone());
            let _ = connection.ask(&request, 1 << 21, "testing");
        }
        assert!(connection.monitor().lost().unwrap().contains("could not read"));
    }
    let mut m = small(7);
    let sample = m.samples(1);
    let found = client(address).compile(&m.graph).unwrap().run(&sample).unwrap();
    assert_eq!(found[0], interpret(&m.graph, &sample[0]).unwrap());
}

/// A server that says what it was told to, in order.
struct Liar(Vec<Vec<u8>>);

impl Service for Liar {
    fn served(&self) -> Served {
        let facts = if self.0.is_empty() { Vec::new() } else { Facts { most: 1 << 30, ..facts(Kind::Gpu) }.bytes() };
        Served { service: Served::BACKEND, facts }
    }
    fn most(&self) -> usize {
        1 << 20
    }
    fn answer(&mut self, _: &[u8], reply: &mut Vec<u8>) -> Result<bool, Malformed> {
        reply.extend(self.0.pop().unwrap_or_default());
        Ok(true)
    }
    fn leave(&mut self) {}
}

#[test]
fn a_server_that_lies_is_a_fault_and_never_a_panic() {
    let mut m = small(8);
    let honest: Vec<Vec<u8>> = spoken(&mut m).into_iter().map(|(_, answer)| answer).collect();
    let mut random = Random(Noise::new(78, 0));
    let samples = m.samples(2);
    let mut wrong = 0;
    for _ in 0..500 {
        let lie = random.below(honest.len());
        let mut answers = honest.clone();
        answers[lie] = random.mutated(answers[lie].clone());
        let changed = answers[lie] != honest[lie];
        answers.reverse();
        let mut remote = client(server(Liar(answers)));
        let supported = remote.supports(&m.graph, &m.graph.nodes[0]);
        let ran = remote.compile(&m.graph).and_then(|mut segment| segment.run(&samples));
        let measured = remote.measure(&m.graph, &mut || ());
        let lost = remote.monitor().lost();
        for error in [ran.as_ref().err(), measured.as_ref().err()].into_iter().flatten() {
            assert_eq!(error.class(), ErrorClass::Fault, "{error}");
            assert!(lost.is_some());
        }
        for (ty, x) in ran.iter().flatten().flat_map(|sample| m.graph.outputs.iter().zip(sample)) {
            assert_eq!((&m.graph.ty(*ty).shape, m.graph.ty(*ty).dtype), (x.shape(), x.dtype()));
        }
        assert!(changed || (supported.is_ok() && ran.is_ok() && measured.is_ok()));
        wrong += usize::from(lost.is_some());
    }
    assert!(wrong > 100, "{wrong}");
    // Facts cut off anywhere are none.
    let facts = Facts { most: 5, ..facts(Kind::Cpu) };
    let bytes = facts.bytes();
    assert_eq!(Facts::parse(&bytes), Ok(facts));
    assert!((0..bytes.len()).all(|end| Facts::parse(&bytes[..end]).is_err()));
    assert!(Cursor(&[1, 2]).u32().is_err());
}
