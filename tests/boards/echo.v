// A small board with the ports of a real one: it sends back every byte that it receives, and some bytes do more.
//
// R: the second light is on for 5000 cycles, then a D is sent. M: the number of bytes received so far is sent. F: a byte without
// a stop bit is sent. S: the simulation stops. DIVISOR is the number of cycles of a bit.
module board #(
    parameter DIVISOR = 8
) (
    input clock,
    input reset,
    input uart_rx,
    output uart_tx,
    output [3:0] led
);
    reg [1:0] line = 3;
    reg [15:0] wait_in = 0;
    reg [3:0] bit_in = 0;
    reg [7:0] byte_in = 0;
    reg taken = 0;
    always @(posedge clock) begin
        line <= {line[0], uart_rx};
        taken <= 0;
        if (reset) begin
            bit_in <= 0;
        end else if (bit_in == 0) begin
            if (!line[1]) begin
                bit_in <= 1;
                wait_in <= DIVISOR + DIVISOR / 2 - 2;
            end
        end else if (wait_in != 0) begin
            wait_in <= wait_in - 1;
        end else begin
            wait_in <= DIVISOR - 1;
            if (bit_in == 9) begin
                bit_in <= 0;
                taken <= line[1];
            end else begin
                byte_in <= {line[1], byte_in[7:1]};
                bit_in <= bit_in + 1;
            end
        end
    end

    reg [15:0] run_left = 0;
    reg [7:0] count = 0;
    reg done = 0;
    reg [8:0] queue [0:15];
    reg [3:0] put = 0;
    reg [3:0] get = 0;
    always @(posedge clock) begin
        done <= run_left == 1;
        if (run_left != 0) run_left <= run_left - 1;
        if (taken) begin
            count <= count + 1;
            put <= put + 1;
            queue[put] <= {byte_in == "F" ? 1'b0 : 1'b1, byte_in == "M" ? count : byte_in};
            if (byte_in == "R") run_left <= 5000;
            if (byte_in == "S") $stop;
        end else if (done) begin
            put <= put + 1;
            queue[put] <= {1'b1, 8'h44};
        end
        if (reset) begin
            put <= 0;
            count <= 0;
            run_left <= 0;
        end
    end

    reg [15:0] wait_out = 0;
    reg [3:0] left_out = 0;
    reg [9:0] out = 10'h3ff;
    always @(posedge clock) begin
        if (reset) begin
            get <= 0;
            left_out <= 0;
            out <= 10'h3ff;
        end else if (wait_out != 0) begin
            wait_out <= wait_out - 1;
        end else if (left_out != 0) begin
            wait_out <= DIVISOR - 1;
            left_out <= left_out - 1;
            out <= {1'b1, out[9:1]};
        end else if (get != put) begin
            out <= {queue[get], 1'b0};
            get <= get + 1;
            wait_out <= DIVISOR - 1;
            left_out <= 10;
        end
    end

    assign uart_tx = out[0];
    assign led = {2'b0, run_left != 0, left_out != 0};
endmodule
