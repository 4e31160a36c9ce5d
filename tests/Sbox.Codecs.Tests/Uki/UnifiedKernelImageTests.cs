using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using CsCheck;
using Sbox.Codecs.Tests.Composefs;
using Sbox.Codecs.Uki;
using Sbox.Judges;

namespace Sbox.Codecs.Tests.Uki;

public class UnifiedKernelImageTests
{
    private const string OsRelease = "ID=debian\nVERSION_ID=13\nPRETTY_NAME=\"Debian\"\n";
    private const string CommandLine = "root=LABEL=sbox-root quiet composefs=abc ü";
    private const int Coff = 4;
    private const int Optional = Coff + 20;

    private static readonly byte[] Stub = Ukify.Stub;

    // A kernel is a PE image with an .sbat of its own: so is the stub.
    private static readonly byte[] Kernel = Stub;

    [Theory]
    [InlineData(0), InlineData(1), InlineData(511), InlineData(512), InlineData(513), InlineData(100_000)]
    public void The_image_is_the_one_that_ukify_builds(int initrdSize) =>
        AssertLikeUkify(Stub, Kernel, initrdSize == 0 ? [] : [Bytes(initrdSize)]);

    [Fact]
    public void Several_initrds_start_at_multiples_of_four() => AssertLikeUkify(Stub, Kernel, [Bytes(5), Bytes(8), Bytes(3)]);

    [Fact]
    public void A_kernel_that_needs_writable_code_takes_the_flag_from_the_stub()
    {
        byte[] kernel = With(Kernel, Optional + 70, 0);
        AssertLikeUkify(Stub, kernel, []);
        byte[] image = Ours(Stub, kernel);
        Assert.Equal(0, BinaryPrimitives.ReadUInt16LittleEndian(image.AsSpan(At(image) + Optional + 70)) & 0x100);
    }

    [Fact]
    public void An_image_for_another_machine_is_built_alike() => AssertLikeUkify(With(Stub, Coff, 0xAA64), With(Kernel, Coff, 0xAA64), [Bytes(9)]);

    [Fact]
    public void Symbols_at_the_end_of_an_old_stub_are_dropped()
    {
        byte[] stub = [.. Stub, .. new byte[18], 8, 0, 0, 0, .. "abc\0"u8];
        BinaryPrimitives.WriteInt32LittleEndian(stub.AsSpan(At(stub) + Coff + 8), Stub.Length);
        BinaryPrimitives.WriteInt32LittleEndian(stub.AsSpan(At(stub) + Coff + 12), 1);
        AssertLikeUkify(stub, Kernel, [Bytes(9)]);
    }

    [Fact]
    public void Content_at_odd_places_in_an_old_stub_is_moved_to_even_ones()
    {
        // The last section loses its padding, which strip did to stubs of old.
        int last = At(Stub) + Optional + 240 + (40 * (BinaryPrimitives.ReadUInt16LittleEndian(Stub.AsSpan(At(Stub) + Coff + 2)) - 1));
        int size = BinaryPrimitives.ReadInt32LittleEndian(Stub.AsSpan(last + 8));
        int offset = BinaryPrimitives.ReadInt32LittleEndian(Stub.AsSpan(last + 20));
        byte[] stub = Stub[..(offset + size)];
        BinaryPrimitives.WriteInt32LittleEndian(stub.AsSpan(last + 16), size);
        AssertLikeUkify(stub, Kernel, [Bytes(9)]);
    }

    [Fact]
    public void What_was_put_in_is_read_back_and_ukify_and_objdump_see_the_same()
    {
        using var scratch = new Scratch();
        byte[] image = Ours(Stub, Kernel, [Bytes(1000)], new UkiSection(".extra", Bytes(7)));
        string path = scratch.File("uki.efi", image);
        Dictionary<string, byte[]> sections = UnifiedKernelImage.Read(image).ToDictionary(static section => section.Name, static section => section.Content.ToArray());
        Assert.Equal(CommandLine, Encoding.UTF8.GetString(sections[".cmdline"]));
        Assert.Equal(OsRelease, Encoding.UTF8.GetString(sections[".osrel"]));
        Assert.Equal("6.12.1", Encoding.UTF8.GetString(sections[".uname"]));
        Assert.Equal(Kernel, sections[".linux"]);
        Assert.Equal(Bytes(1000), sections[".initrd"]);
        Assert.Equal(Bytes(7), sections[".extra"]);
        Assert.Equal(3, Encoding.UTF8.GetString(sections[".sbat"]).Split('\n').Count(static line => line.StartsWith("uki", StringComparison.Ordinal) || line.StartsWith("systemd-stub,", StringComparison.Ordinal)));

        using JsonDocument inspected = JsonDocument.Parse(Judge.Ukify.Run("inspect", path, "--all", "--json=short"));
        Assert.Equal(sections.Count, inspected.RootElement.EnumerateObject().Count());
        foreach (JsonProperty section in inspected.RootElement.EnumerateObject())
            Assert.Equal(Checksum.Of(sections[section.Name]).ToString(), section.Value.GetProperty("sha256").GetString());

        string dumped = Judge.OnPath("objdump").Run("-h", path);
        foreach ((string name, byte[] content) in sections)
            Assert.Contains($" {name,-13} {content.Length:x8} ", dumped, StringComparison.Ordinal);
    }

    [Fact]
    public void The_places_of_sections_are_found_in_the_first_bytes()
    {
        byte[] image = Ours(Stub, Kernel, [Bytes(1000)]);
        int headers = (int)BinaryPrimitives.ReadUInt32LittleEndian(image.AsSpan(At(image) + Optional + 60));
        UkiPlace place = UnifiedKernelImage.Find(image.AsSpan(0, headers), image.Length).Single(static place => place.Name == ".initrd");
        Assert.Equal(Bytes(1000), image.AsSpan((int)place.Offset, (int)place.Length).ToArray());
    }

    [Fact]
    public void A_signed_stub_is_refused()
    {
        MalformedException refused = Assert.Throws<MalformedException>(() => Ours(With(Stub, Optional + 112 + 32, 0x200), Kernel));
        Assert.Contains("an unsigned stub", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_kernel_that_firmware_cannot_start_is_refused() =>
        Assert.Equal("malformed PE image: signature: expected MZ, found other bytes", Assert.Throws<MalformedException>(() => Ours(Stub, Bytes(4096))).Message);

    [Fact]
    public void A_stub_without_room_for_a_header_is_refused()
    {
        UkiSection[] many = [.. Enumerable.Range(0, 1000).Select(static i => new UkiSection($".x{i}", Bytes(1)))];
        MalformedException refused = Assert.Throws<MalformedException>(() => Ours(Stub, Kernel, [], many));
        Assert.Contains("room for the header of .x", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(".toolongs", "'.toolongs' cannot be a section's name: it takes 1 to 8 printable ASCII characters.")]
    [InlineData("", "'' cannot be a section's name: it takes 1 to 8 printable ASCII characters.")]
    [InlineData(".linux", "There are two sections named .linux.")]
    public void A_name_that_no_stub_finds_is_refused(string name, string complaint) =>
        Assert.Equal(complaint, Assert.Throws<ArgumentException>(() => Ours(Stub, Kernel, [], new UkiSection(name, Bytes(1)))).Message);

    [Fact]
    public void Hostile_bytes_give_an_error_or_sections_and_nothing_else()
    {
        byte[] image = Ours(Stub, Kernel, [Bytes(100)]);
        int at = At(image);
        Gen<int> offset = Gen.Frequency((4, Gen.Int[at, at + Optional + 112]), (2, Gen.Int[at + Optional + 240, at + Optional + 240 + (40 * 12)]), (1, Gen.Int[0, image.Length - 1]));
        Gen<byte> value = Gen.Frequency((3, Gen.OneOf<byte>(0, 1, 0x7F, 0x80, 0xFF)), (1, Gen.Byte));
        Gen.Select(Gen.Select(offset, value).Array[1, 6], Gen.Frequency((4, Gen.Const(image.Length)), (1, Gen.Int[0, image.Length]))).Sample((changes, length) =>
        {
            byte[] hostile = image[..length];
            foreach ((int changed, byte to) in changes)
                if (changed < hostile.Length)
                    hostile[changed] = to;
            try
            {
                Assert.All(UnifiedKernelImage.Read(hostile), static section => Assert.NotNull(section.Name));
                Ours(hostile, Kernel);
            }
            catch (MalformedException refused)
            {
                Assert.NotEmpty(refused.Message);
            }
        }, iter: 1500);
    }

    private static void AssertLikeUkify(byte[] stub, byte[] kernel, byte[][] initrds) =>
        Images.AssertSame(Ukify.Build(stub, kernel, CommandLine, OsRelease, "6.12.1", initrds), Ours(stub, kernel, initrds), static () => "ukify's and ours");

    private static byte[] Ours(byte[] stub, byte[] kernel, byte[][]? initrds = null, params UkiSection[] others)
    {
        using var output = new MemoryStream();
        var parts = new UkiParts(kernel, CommandLine, Encoding.UTF8.GetBytes(OsRelease))
        {
            KernelRelease = "6.12.1",
            Initrds = [.. (initrds ?? []).Select(static initrd => new MemoryStream(initrd))],
            Others = others,
        };
        UnifiedKernelImage.Build(stub, parts, output);
        return output.ToArray();
    }

    private static int At(byte[] image) => BinaryPrimitives.ReadInt32LittleEndian(image.AsSpan(0x3C));

    private static byte[] With(byte[] image, int offsetFromHeader, ushort value)
    {
        byte[] changed = [.. image];
        BinaryPrimitives.WriteUInt16LittleEndian(changed.AsSpan(At(image) + offsetFromHeader), value);
        return changed;
    }

    private static byte[] Bytes(int count) => [.. Enumerable.Range(0, count).Select(static i => (byte)(i * 31))];
}
