
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let asc = std::fs::read_to_string(&a[1]).unwrap();
    let db = std::fs::read(&a[2]).unwrap();
    let pcf = std::fs::read_to_string(&a[3]).unwrap();
    let n = tandem_sim::netlist::ice40::netlist_of_bits(&asc, &db, "sg48", &pcf, &a[4]).unwrap();
    print!("{}", n.verilog());
}
