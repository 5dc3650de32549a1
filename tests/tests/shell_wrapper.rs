//! The wrapper of a board: pins that fit, pins that do not, and what yosys makes of each family's.

use tandem_hw::shell::{Edge, Memory, Pins, Pll, Sdram, SdramClock, Shell, Vendor, WRAPPER, wrapper_verilog};
use tandem_tests::proof::Sby;
use tandem_tests::sdram::NARROW;
use tandem_tests::synthesis::{cells, count};

fn chip(masks: bool) -> Memory {
    Memory::Sdram(Sdram { cas_latency: 3, masks, t_init: 200_000_000, ..NARROW })
}

fn shell(memory: Memory) -> Shell {
    Shell { clock_hz: 60_000_000, baud: 1_000_000, leds: 2, memory }
}

fn pins(absent: &[&str]) -> Pins {
    Pins {
        clock: "clock_in".to_owned(),
        leds_active_low: true,
        absent: absent.iter().map(|&name| name.to_owned()).collect(),
        sdram_clock: SdramClock::INVERTED,
    }
}

fn pll(parameters: &[(&str, &str)]) -> Pll {
    Pll { parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect() }
}

/// A board of registers alone, in the place of the real one.
fn board(sdram: bool) -> String {
    let chip = "output reg sdram_cke, sdram_cs_n, sdram_ras_n, sdram_cas_n, sdram_we_n, output reg [1:0] sdram_ba, \
                output reg [12:0] sdram_a, output reg [1:0] sdram_dqm, output reg [15:0] sdram_dq_out, output reg sdram_dq_oe, \
                input [15:0] sdram_dq_in,";
    let body = "{sdram_cke, sdram_cs_n, sdram_ras_n, sdram_cas_n, sdram_we_n, sdram_ba, sdram_a, sdram_dqm, sdram_dq_oe} <= \
                {uart_rx, sdram_dq_in[8:0], sdram_dq_in};\n sdram_dq_out <= sdram_dq_in ^ sdram_dq_out;";
    format!(
        "module board({} input clock, reset, uart_rx, output reg uart_tx, output reg [1:0] led);\n\
         always @(posedge clock) begin\n uart_tx <= uart_rx | reset;\n led <= led + 1;\n {}\n end\nendmodule\n",
        if sdram { chip } else { "" },
        if sdram { body } else { "" }
    )
}

#[test]
fn the_pins_of_a_board_are_those_of_its_constraints() {
    let text =
        wrapper_verilog(Vendor::Ecp5, None, &shell(chip(false)), &pins(&["sdram_cke", "sdram_cs_n", "sdram_dqm"]));
    let text = text.unwrap();
    let header = &text[..text.find(");").unwrap()];
    let names: Vec<&str> = header
        .lines()
        .skip(1)
        .filter_map(|line| line.split(' ').next_back())
        .map(|name| name.trim_end_matches(','))
        .collect();
    let expected =
        "clock_in uart_rx uart_tx led sdram_clk sdram_ras_n sdram_cas_n sdram_we_n sdram_ba sdram_a sdram_dq";
    assert_eq!(names.join(" "), expected);
    assert!(header.contains("inout wire [15:0] sdram_dq") && header.contains("output wire [12:0] sdram_a"), "{header}");
    assert!(text.contains("assign led = ~light;") && text.contains(".sdram_dqm()"), "{text}");
}

#[test]
fn pins_that_do_not_fit_are_refused() {
    let said = |vendor, pll: Option<&Pll>, memory, pins: &Pins| {
        wrapper_verilog(vendor, pll, &shell(memory), pins).unwrap_err().to_string()
    };
    assert_eq!(
        said(Vendor::Ecp5, None, chip(true), &pins(&["sdram_dqm"])),
        "the pins do not go with the shell: sdram_dqm is not wired, and the SDRAM says masks = true; correct the pins"
    );
    assert!(said(Vendor::Ecp5, None, chip(true), &pins(&["uart_rx"])).contains("uart_rx is not wired"));
    let odd = Pins { clock: "clock in".to_owned(), ..pins(&[]) };
    assert!(said(Vendor::Ecp5, None, Memory::Spram, &odd).contains("`clock in`"));
    assert!(said(Vendor::Plain, Some(&Pll::default()), Memory::Spram, &pins(&[])).contains("the family is not said"));
    let late = |phase_degrees| Pins { sdram_clock: SdramClock { phase_degrees, capture: Edge::Rising }, ..pins(&[]) };
    assert!(said(Vendor::Ecp5, None, chip(true), &late(135)).contains("there is no PLL that makes another than 180"));
    assert!(said(Vendor::Ecp5, Some(&Pll::default()), chip(true), &late(100)).contains("100 degrees late"));
    // Without a memory chip its clock does not matter.
    assert!(wrapper_verilog(Vendor::Ice40, None, &shell(Memory::Spram), &late(90)).is_ok());
}

#[test]
fn the_clock_of_the_chip_comes_from_the_pll_where_inversion_does_not_do() {
    for (vendor, output) in [(Vendor::Ecp5, ".CLKOS2(late)"), (Vendor::Gowin, ".CLKOUTP(late)")] {
        let text = |phase_degrees, capture| {
            let pins = Pins { sdram_clock: SdramClock { phase_degrees, capture }, ..pins(&[]) };
            wrapper_verilog(vendor, Some(&Pll::default()), &shell(chip(true)), &pins).unwrap()
        };
        let (late, inverted) = (text(135, Edge::Rising), text(180, Edge::Falling));
        assert!(late.contains(output) && late.contains("(late), "), "{late}");
        assert!(!late.contains("negedge") && late.contains("caught = sdram_dq"), "{late}");
        assert!(
            !inverted.contains("late") && inverted.contains("always @(negedge clock) caught <= sdram_dq"),
            "{inverted}"
        );
    }
}

#[test]
fn each_family_has_its_pll_and_its_pads() {
    let Some(tools) = Sby::find() else { return };
    let ecp5 = pll(&[("CLKI_DIV", "5"), ("CLKFB_DIV", "2"), ("CLKOP_DIV", "60"), ("CLKOS_DIV", "10")]);
    let ice40 = pll(&[("DIVR", "4'd0"), ("DIVF", "7'd63"), ("DIVQ", "3'd5"), ("FILTER_RANGE", "3'd1")]);
    let gowin = pll(&[("FCLKIN", "\"27\""), ("IDIV_SEL", "0"), ("FBDIV_SEL", "3"), ("ODIV_SEL", "8")]);
    let cases = [
        ("wrapper_ecp5", "synth_ecp5", Vendor::Ecp5, &ecp5, true, [("EHXPLLL", 1), ("ODDRX1F", 1), ("TRELLIS_FF", 0)]),
        (
            "wrapper_ice40",
            "synth_ice40 -device u",
            Vendor::Ice40,
            &ice40,
            false,
            [("SB_PLL40_PAD", 1), ("SB_DFF", 0), ("SB_LUT4", 0)],
        ),
        ("wrapper_gowin", "synth_gowin", Vendor::Gowin, &gowin, true, [("rPLL", 1), ("ODDR", 1), ("DFF", 0)]),
    ];
    for (name, command, vendor, pll, sdram, expected) in cases {
        let memory = if sdram { chip(true) } else { Memory::Spram };
        let text = wrapper_verilog(vendor, Some(pll), &shell(memory), &pins(&[])).unwrap() + &board(sdram);
        let found = cells(&tools, name, &text, WRAPPER, command).unwrap();
        for (kind, exactly) in expected {
            let number = count(&found, WRAPPER, &[kind]);
            assert!(
                if exactly > 0 { number == exactly } else { number > 0 },
                "{name}: {number} of {kind} in {found:?}"
            );
        }
    }
}
