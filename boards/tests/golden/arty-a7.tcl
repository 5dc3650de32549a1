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
set_part xc7a100tcsg324-1
set_property TARGET_LANGUAGE Verilog [current_project]
# The design.
read_verilog [file join $here top.v]
read_xdc [file join $here arty-a7.xdc]
# From Verilog to a bitstream, with a report of what was taken and of the clocks.
synth_design -top top -part xc7a100tcsg324-1
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
