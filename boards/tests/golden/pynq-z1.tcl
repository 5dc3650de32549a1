# The versions of Vivado that have the blocks of this project.
regexp {^[0-9]+[.][0-9]+} [version -short] vivado
if {[package vcompare $vivado 2020.2] < 0 || [package vcompare $vivado 2024.2] > 0} {
    error "Vivado ${vivado} is not between 2020.2 and 2024.2, for which this project was written"
}
if {[package vcompare $vivado 2020.2] >= 0} {
    set processor 3.3
}
if {[package vcompare $vivado 2022.1] >= 0} {
    set processor 3.4
}
if {[package vcompare $vivado 2023.1] >= 0} {
    set processor 3.5
}
set here [file dirname [file normalize [info script]]]
cd $here
set_part xc7z020clg400-1
set_property TARGET_LANGUAGE Verilog [current_project]
# The design.
read_verilog [file join $here top.v]
read_verilog [file join $here tandem.v]
# The processor, its interconnects and its reset.
create_bd_design system
create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7:5.5 processor
set_property -dict {CONFIG.PCW_USE_M_AXI_GP0 1 CONFIG.PCW_USE_S_AXI_HP0 1 CONFIG.PCW_S_AXI_HP0_DATA_WIDTH 64 CONFIG.PCW_USE_FABRIC_INTERRUPT 1 CONFIG.PCW_IRQ_F2P_INTR 1 CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ 100} [get_bd_cells processor]
create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset:5.0 reset
create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect:1.0 control
set_property -dict {CONFIG.NUM_SI 1 CONFIG.NUM_MI 1} [get_bd_cells control]
create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect:1.0 memory
set_property -dict {CONFIG.NUM_SI 1 CONFIG.NUM_MI 1} [get_bd_cells memory]
# What the core is wired to.
create_bd_intf_port -mode Master -vlnv xilinx.com:interface:aximm_rtl:1.0 M_AXIL
set_property -dict {CONFIG.PROTOCOL AXI4LITE CONFIG.ADDR_WIDTH 32 CONFIG.DATA_WIDTH 32 CONFIG.FREQ_HZ 100000000} [get_bd_intf_ports M_AXIL]
create_bd_intf_port -mode Slave -vlnv xilinx.com:interface:aximm_rtl:1.0 S_AXI
set_property -dict {CONFIG.PROTOCOL AXI4 CONFIG.ADDR_WIDTH 32 CONFIG.DATA_WIDTH 64 CONFIG.ID_WIDTH 0 CONFIG.MAX_BURST_LENGTH 16 CONFIG.SUPPORTS_NARROW_BURST 0 CONFIG.FREQ_HZ 100000000} [get_bd_intf_ports S_AXI]
create_bd_intf_port -mode Master -vlnv xilinx.com:interface:ddrx_rtl:1.0 DDR
create_bd_intf_port -mode Master -vlnv xilinx.com:display_processing_system7:fixedio_rtl:1.0 FIXED_IO
create_bd_port -dir O -type clk clock
set_property CONFIG.ASSOCIATED_BUSIF M_AXIL:S_AXI [get_bd_ports clock]
create_bd_port -dir O -type rst reset
set_property CONFIG.POLARITY ACTIVE_HIGH [get_bd_ports reset]
create_bd_port -dir I -type intr irq
set_property CONFIG.SENSITIVITY LEVEL_HIGH [get_bd_ports irq]
connect_bd_net [get_bd_pins processor/FCLK_CLK0] [get_bd_pins processor/M_AXI_GP0_ACLK]
connect_bd_net [get_bd_pins processor/FCLK_CLK0] [get_bd_pins processor/S_AXI_HP0_ACLK]
connect_bd_net [get_bd_pins processor/FCLK_CLK0] [get_bd_pins control/aclk]
connect_bd_net [get_bd_pins processor/FCLK_CLK0] [get_bd_pins memory/aclk]
connect_bd_net [get_bd_pins processor/FCLK_CLK0] [get_bd_pins reset/slowest_sync_clk]
connect_bd_net [get_bd_pins processor/FCLK_CLK0] [get_bd_ports clock]
connect_bd_net [get_bd_pins processor/FCLK_RESET0_N] [get_bd_pins reset/ext_reset_in]
connect_bd_net [get_bd_pins reset/interconnect_aresetn] [get_bd_pins control/aresetn]
connect_bd_net [get_bd_pins reset/interconnect_aresetn] [get_bd_pins memory/aresetn]
connect_bd_net [get_bd_pins reset/peripheral_reset] [get_bd_ports reset]
connect_bd_net [get_bd_ports irq] [get_bd_pins processor/IRQ_F2P]
connect_bd_intf_net [get_bd_intf_pins processor/M_AXI_GP0] [get_bd_intf_pins control/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins control/M00_AXI] [get_bd_intf_ports M_AXIL]
connect_bd_intf_net [get_bd_intf_ports S_AXI] [get_bd_intf_pins memory/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins memory/M00_AXI] [get_bd_intf_pins processor/S_AXI_HP0]
connect_bd_intf_net [get_bd_intf_pins processor/DDR] [get_bd_intf_ports DDR]
connect_bd_intf_net [get_bd_intf_pins processor/FIXED_IO] [get_bd_intf_ports FIXED_IO]
# The addresses of address_map.json.
assign_bd_address -offset 0x43c00000 -range 0x10000 -target_address_space [get_bd_addr_spaces processor/Data] [get_bd_addr_segs M_AXIL/Reg]
assign_bd_address -offset 0x0 -range 0x20000000 -target_address_space [get_bd_addr_spaces S_AXI] [get_bd_addr_segs processor/S_AXI_HP0/HP0_DDR_LOWOCM]
validate_bd_design
save_bd_design
set_property SYNTH_CHECKPOINT_MODE None [get_files system.bd]
generate_target all [get_files system.bd]
read_xdc [file join $here pynq-z1.xdc]
# From Verilog to a bitstream, with a report of what was taken and of the clocks.
synth_design -top top -part xc7z020clg400-1
opt_design
place_design
phys_opt_design
route_design
report_utilization -file [file join $here utilization.rpt]
report_timing_summary -file [file join $here timing.rpt]
set slack [get_property SLACK [get_timing_paths -max_paths 1 -setup]]
if {$slack < 0} {
    error "the clock is too fast by ${slack} ns; timing.rpt has the path"
}
write_bitstream -force [file join $here top.bit]
