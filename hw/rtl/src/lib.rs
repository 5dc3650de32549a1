//! A width-checked builder of register-transfer logic that prints Verilog.
