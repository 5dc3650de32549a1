fn main() {
    let a: Vec<String> = std::env::args().collect();
    let json = std::fs::read_to_string(&a[1]).unwrap();
    print!("{}", tandem_sim::netlist::routed_verilog(&json, &a[2]).unwrap());
}
