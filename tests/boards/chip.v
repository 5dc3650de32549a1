// A board with a memory chip: what it does to the chip is what the host sends, and what the chip answers is sent back.
//
// A byte becomes an ACTIVATE of the row of this number; the low byte that the chip drives two edges later is sent.
module board (
    input clock,
    input reset,
    input uart_rx,
    output uart_tx,
    output led,
    output reg sdram_cke,
    output reg sdram_cs_n,
    output reg sdram_ras_n,
    output reg sdram_cas_n,
    output reg sdram_we_n,
    output reg [1:0] sdram_ba,
    output reg [12:0] sdram_a,
    output reg [1:0] sdram_dqm,
    output reg [15:0] sdram_dq_out,
    output reg sdram_dq_oe,
    input [15:0] sdram_dq_in
);
    reg [7:0] wait_in = 0;
    reg [3:0] bit_in = 0;
    reg [7:0] byte_in = 0;
    reg [2:0] taken = 0;
    reg [9:0] out = 10'h3ff;
    reg [6:0] wait_out = 0;
    always @(posedge clock) begin
        sdram_cke <= 1;
        {sdram_cs_n, sdram_ras_n, sdram_cas_n, sdram_we_n} <= 4'b1111;
        sdram_ba <= 2;
        sdram_dqm <= 3;
        sdram_dq_oe <= 0;
        sdram_dq_out <= 0;
        sdram_a <= 0;
        taken <= taken << 1;
        if (reset) bit_in <= 0;
        else if (bit_in == 0) begin
            if (!uart_rx) begin
                bit_in <= 1;
                wait_in <= 11;
            end
        end else if (wait_in != 0) wait_in <= wait_in - 1;
        else begin
            wait_in <= 7;
            bit_in <= bit_in == 9 ? 0 : bit_in + 1;
            if (bit_in == 9) taken[0] <= uart_rx;
            else byte_in <= {uart_rx, byte_in[7:1]};
        end
        if (taken[0]) begin
            {sdram_cs_n, sdram_ras_n, sdram_cas_n, sdram_we_n} <= 4'b0011;
            sdram_a <= {5'b0, byte_in};
        end
        wait_out <= wait_out == 7 ? 0 : wait_out + 1;
        if (taken[2]) begin
            out <= {1'b1, sdram_dq_in[7:0], 1'b0};
            wait_out <= 0;
        end else if (wait_out == 7) out <= {1'b1, out[9:1]};
    end
    assign uart_tx = out[0];
    assign led = 0;
endmodule
