// The reset of a board: held until the clock is steady, and some cycles more.
module start(input wire clock, input wire locked, output reg reset = 1'b1);
  reg [1:0] steady = 2'd0;
  reg [4:0] count = 5'd0;
  always @(posedge clock) begin
    steady <= {steady[0], locked};
    count <= steady[1] ? count + {4'd0, !count[4]} : 5'd0;
    reset <= !count[4];
  end
endmodule
