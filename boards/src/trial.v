// A multiplier, a memory and a counter that drive every output of a board.
module trial(input wire clock, input wire reset, input wire in, input wire [31:0] seed, input wire [31:0] seen,
             output wire [31:0] state);
  wire [31:0] count;
  control control(.clock(clock), .reset(reset), .in(in), .seed(seed), .count(count));
  gemm gemm(.clock(clock), .a(count[7:0]), .b(count[15:8]), .seen(seen), .sum(state));
endmodule

module control(input wire clock, input wire reset, input wire in, input wire [31:0] seed, output reg [31:0] count);
  always @(posedge clock) count <= reset ? seed : count + {31'd0, in} + 32'd1;
endmodule

module gemm(input wire clock, input wire signed [7:0] a, input wire signed [7:0] b, input wire [31:0] seen,
            output reg [31:0] sum);
  reg signed [15:0] product;
  reg [31:0] memory [0:255];
  reg [31:0] read, early, part;
  always @(posedge clock) begin
    product <= a * b;
    memory[a] <= sum;
    read <= memory[b];
    early <= seen;
    part <= early + {16'd0, product};
    sum <= read + part;
  end
endmodule
