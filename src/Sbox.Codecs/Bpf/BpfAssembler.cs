using System.Buffers.Binary;

namespace Sbox.Codecs.Bpf;

/// <summary>A register of the kernel's BPF machine: r0 answers, r1 to r5 pass arguments and are lost by a call, r6 to r9 stay, r10 is the frame.</summary>
public enum Reg
{
#pragma warning disable CS1591
    R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10,
#pragma warning restore CS1591
}

/// <summary>Width of a load or store, by the bits of its opcode.</summary>
public enum Width
{
    /// <summary>Four bytes.</summary>
    Word = 0x00,
    /// <summary>Two bytes.</summary>
    Half = 0x08,
    /// <summary>One byte.</summary>
    Byte = 0x10,
    /// <summary>Eight bytes.</summary>
    Long = 0x18,
}

/// <summary>When a jump is taken: how the register compares with the number, 64 bits each.</summary>
public enum When
{
    /// <summary>Always.</summary>
    Always = 0x00,
    /// <summary>Equal.</summary>
    Equal = 0x10,
    /// <summary>Not equal.</summary>
    Differs = 0x50,
    /// <summary>Greater, both unsigned.</summary>
    Above = 0x20,
    /// <summary>Less, both signed.</summary>
    Negative = 0xC0,
    /// <summary>Any bit of the number is set.</summary>
    AnyBit = 0x40,
}

/// <summary>A place to jump to; made by <see cref="BpfAssembler.NewLabel"/>.</summary>
/// <param name="Number">Its number.</param>
public readonly record struct BpfLabel(int Number);

/// <summary>Puts BPF instructions together, eight bytes each; docs: the kernel's Documentation/bpf/standardization/instruction-set.rst.</summary>
public sealed class BpfAssembler
{
    private readonly List<ulong> code = [];
    private readonly List<int> places = [];
    private readonly List<(int Instruction, int Label)> jumps = [];

    /// <summary>A label that is put in place later.</summary>
    public BpfLabel NewLabel()
    {
        places.Add(-1);
        return new BpfLabel(places.Count - 1);
    }

    /// <summary>Puts a label here.</summary>
    public BpfAssembler Place(BpfLabel label)
    {
        places[label.Number] = code.Count;
        return this;
    }

    /// <summary><c>to = from</c>.</summary>
    public BpfAssembler Move(Reg to, Reg from) => Emit(0xBF, to, from, 0, 0);

    /// <summary><c>to = number</c>, with its sign.</summary>
    public BpfAssembler Move(Reg to, int number) => Emit(0xB7, to, 0, 0, number);

    /// <summary><c>to += number</c>.</summary>
    public BpfAssembler Add(Reg to, int number) => Emit(0x07, to, 0, 0, number);

    /// <summary><c>to += from</c>.</summary>
    public BpfAssembler Add(Reg to, Reg from) => Emit(0x0F, to, from, 0, 0);

    /// <summary><c>to &lt;&lt;= bits</c>.</summary>
    public BpfAssembler ShiftLeft(Reg to, int bits) => Emit(0x67, to, 0, 0, bits);

    /// <summary><c>to &amp;= number</c>.</summary>
    public BpfAssembler And(Reg to, int number) => Emit(0x57, to, 0, 0, number);

    /// <summary>Keeps the lower 32 bits, with their sign: what a kernel function that returns int answered.</summary>
    public BpfAssembler SignExtend(Reg register) =>
        Emit(0x67, register, 0, 0, 32).Emit(0xC7, register, 0, 0, 32);

    /// <summary><c>to = *(from + offset)</c>.</summary>
    public BpfAssembler Load(Reg to, Reg from, int offset, Width width = Width.Long) => Emit(0x61 | (int)width, to, from, offset, 0);

    /// <summary><c>*(to + offset) = from</c>.</summary>
    public BpfAssembler Store(Reg to, int offset, Reg from, Width width = Width.Long) => Emit(0x63 | (int)width, to, from, offset, 0);

    /// <summary><c>*(to + offset) = number</c>.</summary>
    public BpfAssembler Store(Reg to, int offset, int number, Width width) => Emit(0x62 | (int)width, to, 0, offset, number);

    /// <summary>Adds to eight bytes in memory, atomically.</summary>
    public BpfAssembler AtomicAdd(Reg to, int offset, Reg from) => Emit(0xDB, to, from, offset, 0);

    /// <summary><c>to = the map</c> behind a descriptor of the loading process.</summary>
    public BpfAssembler LoadMap(Reg to, int descriptor) => Emit(0x18, to, (Reg)1, 0, descriptor).Emit(0, 0, 0, 0, 0);

    /// <summary><c>r0 = helper(r1, …)</c>; bpf-helpers(7).</summary>
    public BpfAssembler Call(int helper) => Emit(0x85, 0, 0, 0, helper);

    /// <summary>Ends the program; r0 is its answer.</summary>
    public BpfAssembler Exit() => Emit(0x95, 0, 0, 0, 0);

    /// <summary>Jumps where the register compares so with the number; a negative number is extended with its sign.</summary>
    public BpfAssembler Jump(BpfLabel label, When when = When.Always, Reg register = Reg.R0, int number = 0)
    {
        jumps.Add((code.Count, label.Number));
        return Emit(0x05 | (int)when, register, 0, 0, number);
    }

    /// <summary>Jumps where two registers are equal.</summary>
    public BpfAssembler JumpEqual(BpfLabel label, Reg one, Reg other)
    {
        jumps.Add((code.Count, label.Number));
        return Emit(0x1D, one, other, 0, 0);
    }

    /// <summary><c>to = the 8 bytes</c>, least significant first.</summary>
    public BpfAssembler Move(Reg to, ulong value) => Emit(0x18, to, 0, 0, (int)(uint)value).Emit(0, 0, 0, 0, (int)(uint)(value >> 32));

    /// <summary>The program's bytes.</summary>
    /// <exception cref="InvalidOperationException">A label was jumped to and never put in place, or lies too far away.</exception>
    public byte[] ToBytes()
    {
        var bytes = new byte[code.Count * 8];
        for (int at = 0; at < code.Count; at++)
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(at * 8), code[at]);
        foreach ((int instruction, int label) in jumps)
        {
            int distance = places[label] - instruction - 1;
            if (places[label] < 0 || distance > short.MaxValue)
                throw new InvalidOperationException($"label {label} is {(places[label] < 0 ? "nowhere" : "too far away")}");
            BinaryPrimitives.WriteInt16LittleEndian(bytes.AsSpan((instruction * 8) + 2), (short)distance);
        }

        return bytes;
    }

    private BpfAssembler Emit(int opcode, Reg destination, Reg source, int offset, int immediate)
    {
        code.Add((uint)opcode | ((ulong)destination << 8) | ((ulong)source << 12) | ((ulong)(ushort)checked((short)offset) << 16) | ((ulong)(uint)immediate << 32));
        return this;
    }
}
