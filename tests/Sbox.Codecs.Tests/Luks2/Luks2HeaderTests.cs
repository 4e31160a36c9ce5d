using System.Security.Cryptography;
using CsCheck;
using Sbox.Codecs.Luks2;
using Sbox.Judges;

namespace Sbox.Codecs.Tests;

/// <summary>A header of cryptsetup's making is read, and what is written of it cryptsetup takes for its own.</summary>
public sealed class Luks2HeaderTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-luks2-").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact]
    public void The_digest_is_everybodys_SHA_256() => Gen.Byte.Array[0, 300].Sample(static bytes => Sha256.Of(bytes).AsSpan().SequenceEqual(SHA256.HashData(bytes)));

    [Fact]
    public void What_is_written_is_a_header_to_cryptsetup_one_writing_later()
    {
        byte[] both = Volume();
        Luks2Header header = Luks2Header.Parse(both)!;
        Assert.StartsWith("{\"keyslots\":{\"0\"", header.Json, StringComparison.Ordinal);
        Assert.Null(header.Ended()); // no encryption is at work
        Write(header.Next(second: false), header.Next(second: true));
        string dump = Judge.OnPath("cryptsetup").Run("luksDump", Of("volume"));
        Assert.Matches($@"Epoch:\s+{header.Sequence + 1}\n", dump);
        Judge.OnPath("cryptsetup").Run("open", "--test-passphrase", "--key-file", Of("passphrase"), Of("volume"));
    }

    [Fact]
    public void Of_two_copies_the_newer_that_is_whole_counts()
    {
        byte[] both = Volume();
        Luks2Header header = Luks2Header.Parse(both)!;
        byte[] newer = [.. header.Next(second: false), .. both[Luks2Header.Length..]];
        Assert.Equal(header.Sequence + 1, Luks2Header.Parse(newer)!.Sequence);
        newer[5000] ^= 1;
        Assert.Equal(header.Sequence, Luks2Header.Parse(newer)!.Sequence);
        newer[Luks2Header.Length + 5000] ^= 1;
        Assert.Null(Luks2Header.Parse(newer));
        byte[] other = [.. both[..Luks2Header.Length], .. header.Next(second: true)];
        Assert.Equal(header.Sequence + 1, Luks2Header.Parse(other)!.Sequence);
    }

    [Fact]
    public void Damaged_bytes_are_no_header_and_never_more_than_that()
    {
        byte[] both = Volume();
        Gen.Select(Gen.Int[0, both.Length - 1], Gen.Byte[1, 255], Gen.Int[0, both.Length]).Sample(damage =>
        {
            byte[] damaged = both.ToArray();
            damaged[damage.Item1] ^= damage.Item2;
            _ = Luks2Header.Parse(damaged)?.Ended();
            _ = Luks2Header.Parse(damaged.AsSpan(0, damage.Item3))?.Ended();
        }, iter: 200);
    }

    [Theory]
    [InlineData("0", "16777216", "backup-final", true)]
    [InlineData("1", "16777216", "backup-final", false)] // it is not the first, so there is one before it
    [InlineData("0", "33554432", "backup-final", false)] // what is before it is not encrypted
    [InlineData("0", "16777216", "in-reencryption", false)]
    [InlineData("0", "16777216", "of-tomorrow", false)]
    public void An_encryption_is_over_where_all_that_is_left_is_one_segment_from_the_datas_beginning_and_notes_of_before(string name, string offset, string flag, bool isOver)
    {
        // As cryptsetup 2.6 has it behind the last piece, but for one thing.
        string json = $$$$"""
            {"keyslots":{"0":{"type":"luks2"},"1":{"type":"reencrypt","mode":"encrypt"}},"tokens":{},"segments":{
            "{{{{name}}}}":{"type":"crypt","offset":"{{{{offset}}}}","size":"dynamic"},"7":{"type":"linear","offset":"0","size":"37748736","flags":["backup-previous"]},
            "8":{"type":"crypt","offset":"16777216","size":"dynamic","flags":["{{{{flag}}}}"]},"9":{"type":"linear","offset":"54525952","size":"16777216","flags":["backup-moved-segment"]}},
            "digests":{"0":{"keyslots":["0"],"segments":["{{{{name}}}}","8"]},"1":{"keyslots":["1"],"segments":[]}},"config":{"json_size":"12288","requirements":{"mandatory":["online-reencrypt-v2"]}}}
            """;
        Luks2Header? ended = new Luks2Header(1, new byte[4096], json).Ended();
        Assert.Equal(isOver, ended is not null);
        if (ended is not null)
            Assert.Equal("""{"keyslots":{"0":{"type":"luks2"}},"tokens":{},"segments":{"0":{"type":"crypt","offset":"16777216","size":"dynamic"}},"digests":{"0":{"keyslots":["0"],"segments":["0"]}},"config":{"json_size":"12288"}}""", ended.Json);
    }

    [Fact]
    public void The_last_piece_at_work_is_not_the_end()
    {
        const string json = """
            {"keyslots":{"0":{"type":"luks2"},"1":{"type":"reencrypt","mode":"encrypt"}},"tokens":{},"segments":{"0":{"type":"crypt","offset":"16777216","size":"16777216","flags":["in-reencryption"]},
            "1":{"type":"crypt","offset":"33554432","size":"dynamic"},"2":{"type":"crypt","offset":"16777216","size":"dynamic","flags":["backup-final"]}},"digests":{},"config":{}}
            """;
        Assert.Null(new Luks2Header(1, new byte[4096], json).Ended());
    }

    [Theory]
    [InlineData("encrypt", "", "", true, false)]
    [InlineData("encrypt", "", "\"0\":{\"type\":\"systemd-recovery\",\"keyslots\":[\"0\"]}", true, true)]
    [InlineData("encrypt", "\"2\":{\"type\":\"luks2\"},", "", true, true)]
    [InlineData("reencrypt", "", "", false, false)]
    [InlineData("decrypt", "", "", false, false)]
    public void A_volume_is_being_made_in_one_mode_only_and_a_token_or_a_second_key_is_one_that_somebody_keeps(string mode, string slot, string token, bool isBeingEncrypted, bool hasKeptKey) =>
        Assert.Equal(new Luks2Progress(isBeingEncrypted, hasKeptKey), Luks2Progress.Parse(
            "{\"keyslots\":{\"0\":{\"type\":\"luks2\"}," + slot + "\"1\":{\"type\":\"reencrypt\",\"mode\":\"" + mode + "\"}},\"tokens\":{" + token
            + "},\"config\":{\"requirements\":{\"mandatory\":[\"online-reencrypt-v2\"]}}}"));

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("""{"keyslots":{"0":1},"tokens":{},"config":{}}""")]
    [InlineData("""{"keyslots":{},"config":{}}""")]
    public void What_is_no_headers_JSON_says_nothing_of_an_encryption(string json) => Assert.Null(Luks2Progress.Parse(json));

    private byte[] Volume()
    {
        File.WriteAllText(Of("passphrase"), "of a test");
        using (FileStream file = File.Create(Of("volume")))
            file.SetLength(20 << 20);
        Judge.OnPath("cryptsetup").Run("luksFormat", "--batch-mode", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", Of("volume"), Of("passphrase"));
        var both = new byte[2 * Luks2Header.Length];
        using FileStream made = File.OpenRead(Of("volume"));
        made.ReadExactly(both);
        return both;
    }

    private void Write(byte[] first, byte[] second)
    {
        using FileStream file = File.OpenWrite(Of("volume"));
        file.Write(first);
        file.Write(second);
    }

    private string Of(string name) => Path.Combine(directory, name);
}
