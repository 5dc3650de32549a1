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
set_part xck26-sfvc784-2LV-c
set_property TARGET_LANGUAGE Verilog [current_project]
# The design.
read_verilog [file join $here top.v]
read_verilog [file join $here tandem.v]
# The processor, its interconnects and its reset.
create_bd_design system
create_bd_cell -type ip -vlnv "xilinx.com:ip:zynq_ultra_ps_e:${processor}" processor
set_property -dict {CONFIG.PSU__USE__M_AXI_GP0 1 CONFIG.PSU__USE__M_AXI_GP1 0 CONFIG.PSU__USE__M_AXI_GP2 0 CONFIG.PSU__USE__S_AXI_GP2 1 CONFIG.PSU__SAXIGP2__DATA_WIDTH 128 CONFIG.PSU__USE__IRQ0 1 CONFIG.PSU__FPGA_PL0_ENABLE 1 CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ 100} [get_bd_cells processor]
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
create_bd_port -dir O -type clk clock
set_property CONFIG.ASSOCIATED_BUSIF M_AXIL:S_AXI [get_bd_ports clock]
create_bd_port -dir O -type rst reset
set_property CONFIG.POLARITY ACTIVE_HIGH [get_bd_ports reset]
create_bd_port -dir I -type intr irq
set_property CONFIG.SENSITIVITY LEVEL_HIGH [get_bd_ports irq]
connect_bd_net [get_bd_pins processor/pl_clk0] [get_bd_pins processor/maxihpm0_fpd_aclk]
connect_bd_net [get_bd_pins processor/pl_clk0] [get_bd_pins processor/saxihp0_fpd_aclk]
connect_bd_net [get_bd_pins processor/pl_clk0] [get_bd_pins control/aclk]
connect_bd_net [get_bd_pins processor/pl_clk0] [get_bd_pins memory/aclk]
connect_bd_net [get_bd_pins processor/pl_clk0] [get_bd_pins reset/slowest_sync_clk]
connect_bd_net [get_bd_pins processor/pl_clk0] [get_bd_ports clock]
connect_bd_net [get_bd_pins processor/pl_resetn0] [get_bd_pins reset/ext_reset_in]
connect_bd_net [get_bd_pins reset/interconnect_aresetn] [get_bd_pins control/aresetn]
connect_bd_net [get_bd_pins reset/interconnect_aresetn] [get_bd_pins memory/aresetn]
connect_bd_net [get_bd_pins reset/peripheral_reset] [get_bd_ports reset]
connect_bd_net [get_bd_ports irq] [get_bd_pins processor/pl_ps_irq0]
connect_bd_intf_net [get_bd_intf_pins processor/M_AXI_HPM0_FPD] [get_bd_intf_pins control/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins control/M00_AXI] [get_bd_intf_ports M_AXIL]
connect_bd_intf_net [get_bd_intf_ports S_AXI] [get_bd_intf_pins memory/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins memory/M00_AXI] [get_bd_intf_pins processor/S_AXI_HP0_FPD]
# The addresses of address_map.json.
assign_bd_address -offset 0xa0000000 -range 0x10000 -target_address_space [get_bd_addr_spaces processor/Data] [get_bd_addr_segs M_AXIL/Reg]
assign_bd_address -offset 0x0 -range 0x80000000 -target_address_space [get_bd_addr_spaces S_AXI] [get_bd_addr_segs processor/SAXIGP2/HP0_DDR_LOW]
validate_bd_design
save_bd_design
set_property SYNTH_CHECKPOINT_MODE None [get_files system.bd]
generate_target all [get_files system.bd]
read_xdc [file join $here kv260.xdc]
# From Verilog to a bitstream, with a report of what was taken and of the clocks.
synth_design -top top -part xck26-sfvc784-2LV-c
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
