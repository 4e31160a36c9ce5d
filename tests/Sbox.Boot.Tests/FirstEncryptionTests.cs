using System.Globalization;
using System.Text.RegularExpressions;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Boot.Tests;

/// <summary>
/// A disk is encrypted by real cryptsetup, and the power fails at each of its writes: that one, and what was written since the last sync, is torn. The boots after
/// it end with a volume that has all that was there.
/// </summary>
public sealed partial class FirstEncryptionTests : IDisposable
{
    private const int FileSystemMebibytes = 20, Mebibyte = 1 << 20; // more than what is moved out of the header's way, and not a multiple of it
    private const string Key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    private static readonly int Faults = Environment.GetEnvironmentVariable("SBOX_FAULTS") is { Length: > 0 } text ? text == "all" ? int.MaxValue : int.Parse(text, CultureInfo.InvariantCulture) : 9;

    private readonly string directory = Directory.CreateTempSubdirectory("sbox-first-").FullName;
    private readonly string label = $"first-{Guid.NewGuid().ToString("N")[..8]}";
    private readonly List<string> said = [];
    private string volume = "";
    private readonly byte[] original;

    public FirstEncryptionTests()
    {
        Directory.CreateDirectory(Of("content"));
        File.WriteAllBytes(Of("content/file"), Noise(2 * Mebibyte, 1));
        Directory.CreateDirectory(Variables);
        Make("disk", EncryptedDisk.SpareMebibytes);
        original = File.ReadAllBytes(Of("disk"))[..(FileSystemMebibytes * Mebibyte)];
    }

    private string Variables => Of("variables");

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact]
    public void A_partition_is_encrypted_where_it_is_and_nothing_of_how_is_left()
    {
        using (var loop = new Loop(Of("disk")))
            NextBoot(loop);
        Assert.Equal((volume, Key), (Judge.OnPath("cryptsetup").Run("luksUUID", Of("disk")).Trim(), FirstKey.Read(volume, Variables)));
        HasAllThatWasThere("disk");
        Assert.Empty(Copies());
        Assert.Empty(said);
    }

    [Fact]
    public void The_power_may_fail_at_any_moment_in_which_the_header_takes_the_file_systems_place()
    {
        byte[] header = Begun();
        IReadOnlyList<Written> writes = WritesOf("begin");
        // What is moved, in the way of the header; then the header, in one piece.
        Assert.Equal([(FileSystemMebibytes + 32) * Mebibyte, 0], writes.Select(static each => (int)each.At));
        foreach (Written cut in writes)
        {
            foreach (string torn in (string[])["nothing", "a sector", "a page", "all but a page", "noise"])
                Cut("begin", cut, writes, disk => Tear(disk, cut, writes, torn, header));
        }
    }

    [Fact]
    public void The_power_may_fail_before_the_header_and_after_it()
    {
        byte[] header = Begun();
        // The copy is torn, and nothing says that there is one.
        Make("cut", EncryptedDisk.SpareMebibytes);
        Write("cut", (FileSystemMebibytes * Mebibyte) + 12345, Noise(5 * Mebibyte, 2));
        Finishes("cut");
        Assert.Empty(said);

        // The header is whole, and the copy's variable not yet gone.
        File.Copy(Of("begun"), Of("cut"), overwrite: true);
        Write("cut", 0, header);
        using (var loop = new Loop(Of("disk")))
            Assert.NotNull(HeadCopy.Make(loop.Name, new Superblock(Superblock.Ext4, label, Uuid(), HasErrors: false) { Bytes = FileSystemMebibytes * Mebibyte }, NewVolume(), Variables));
        using (FileStream cut = File.OpenWrite(Of("cut")), whole = File.OpenRead(Of("disk")))
        {
            whole.Position = cut.Position = FileSystemMebibytes * Mebibyte;
            whole.CopyTo(cut);
        }

        Finishes("cut");
        Assert.Contains("what was there is put back", Assert.Single(said), StringComparison.Ordinal);
    }

    [Fact]
    public void The_power_may_fail_at_any_write_of_what_comes_after_it()
    {
        Begun();
        IReadOnlyList<Written> writes = WritesOf("goon");
        Assert.True(writes.Count > 60, $"{writes.Count}");
        int step = Math.Max(1, writes.Count / Math.Min(Faults, writes.Count));
        foreach (Written cut in writes.Where((_, at) => at % step == 0))
            Cut("goon", cut, writes, disk => Tear(disk, cut, writes, "noise", []));
    }

    [Fact]
    public void And_again_at_any_write_by_which_the_next_boot_mends_that()
    {
        Begun();
        IReadOnlyList<Written> writes = WritesOf("goon");
        Written piece = writes.First(static each => each.Length == HeadCopy.Bytes);
        Kill("goon", piece, disk => Tear(disk, piece, writes, "noise", []));
        File.Move(Of("cut"), Of("halfway"));
        File.Copy(Of("halfway"), Of("mended"));
        using (var loop = new Loop(Of("mended")))
            new FirstEncryption(static _ => { }, Traced("repair", "repair"), Variables).GoOn(loop.Path, Key);
        IReadOnlyList<Written> mending = WritesOf("repair");
        Assert.True(mending.Count > 6, $"{mending.Count}");
        int step = Math.Max(1, mending.Count / Math.Min(Faults / 3, mending.Count));
        foreach (Written cut in mending.Where((_, at) => at % step == 0))
            Cut("repair", cut, mending, disk => Tear(disk, cut, mending, "noise", []));
    }

    [Fact]
    public void What_has_no_room_for_a_copy_behind_its_file_system_is_not_touched()
    {
        Make("tight", EncryptedDisk.HeaderMebibytes);
        byte[] before = File.ReadAllBytes(Of("tight"));
        using (var loop = new Loop(Of("tight")))
            Assert.Contains("20 MiB of 52, and 48 MiB must be free behind it", Assert.Throws<NoRootException>(() => NextBoot(loop)).Message, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(Of("tight")));
        Assert.Empty(Directory.GetFiles(Variables));
    }

    [Fact]
    public void A_cryptsetup_that_refuses_leaves_what_was_there()
    {
        using (var loop = new Loop(Of("disk")))
        {
            var encryption = new FirstEncryption(said.Add, "/bin/false", Variables);
            Assert.Contains("was not encrypted", Assert.Throws<NoRootException>(() => encryption.Begin(loop.Name, Look()!.Superblock, NewVolume(), MakeKey)).Message, StringComparison.Ordinal);
        }

        Assert.Equal(original, File.ReadAllBytes(Of("disk"))[..original.Length]);
        Assert.Empty(Directory.GetFiles(Variables));
    }

    [Fact]
    public void What_cryptsetup_cannot_mend_is_not_gone_on_with_nor_ended()
    {
        Begun();
        byte[] before = File.ReadAllBytes(Of("begun"));
        using (var loop = new Loop(Of("begun")))
        {
            string refusing = Script("refusing", """[ "$1" != repair ] || { echo 'no key' >&2; exit 1; }; exec /usr/sbin/cryptsetup "$@" """);
            Assert.Contains("could not mend where that was cut short: no key", Assert.Throws<NoRootException>(() => new FirstEncryption(said.Add, refusing, Variables).GoOn(loop.Path, Key)).Message, StringComparison.Ordinal);
        }

        Assert.Equal(before, File.ReadAllBytes(Of("begun")));
        Finishes("begun");
    }

    [Fact]
    public void Only_a_first_encryption_is_lost_with_the_firmwares_key_and_no_volume_that_was_whole()
    {
        var encryption = new FirstEncryption(said.Add, "/usr/sbin/cryptsetup", Variables);
        Begun();
        File.WriteAllText(Of("key"), Key);
        using (var begun = new Loop(Of("begun")))
            Assert.Equal((true, true), (encryption.IsCutShort(begun.Path), encryption.IsCutShortWithoutKey(begun.Path)));

        // A whole volume that its owner gives another key: it was all there before, and its keys open it.
        using var whole = new Loop(Of("whole"));
        Assert.Equal((false, false), (encryption.IsCutShort(whole.Path), encryption.IsCutShortWithoutKey(whole.Path)));
        Judge.OnPath("cryptsetup").Run("reencrypt", "--init-only", "--batch-mode", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", Of("key"), whole.Path);
        Assert.Contains("reencrypt", Judge.OnPath("cryptsetup").Run("luksDump", whole.Path), StringComparison.Ordinal);
        Assert.Equal((false, false), (encryption.IsCutShort(whole.Path), encryption.IsCutShortWithoutKey(whole.Path)));
    }

    [Fact]
    public void Another_disk_with_the_same_image_is_not_mended_by_the_copy_of_the_first()
    {
        using var loop = new Loop(Of("disk"));
        HeadCopy.Make(loop.Name, Look()!.Superblock, NewVolume(), Variables);
        Make("other", EncryptedDisk.SpareMebibytes);
        using var other = new Loop(Of("other"));
        HeadCopy left = HeadCopy.Left(Variables)!;
        Assert.Equal((true, false), (left.IsOf(loop.Name), left.IsOf(other.Name)));
    }

    [Fact]
    public void A_volume_whose_first_header_is_torn_is_found_by_its_second()
    {
        File.Copy(Of("disk"), Of("volume"));
        using (var loop = new Loop(Of("volume")))
            NextBoot(loop);
        Write("volume", 0, Noise(4096, 3));
        Superblock found = Superblock.Parse(File.ReadAllBytes(Of("volume")).AsSpan(0, Superblock.Length))!;
        Assert.Equal((Superblock.Luks, label), (found.Type, found.Label));
        HasAllThatWasThere("volume");
    }

    private string[] Copies() => Directory.GetFiles(Variables, "SboxHeadCopy-*");

    private string[] Keys() => Directory.GetFiles(Variables, "SboxFirstKey-*");

    // Another one each time, as sbox-root has it.
    private string NewVolume() => volume = $"{Guid.NewGuid():D}";

    private string MakeKey()
    {
        OwnVariable.Write(Variables, $"SboxFirstKey-{volume}", Key);
        return Key;
    }

    // As sbox-root does it: mend, look, encrypt or go on.
    private void NextBoot(Loop loop, string? program = null)
    {
        var encryption = new FirstEncryption(said.Add, program ?? "/usr/sbin/cryptsetup", Variables);
        ProbedDisk disk = Look() ?? throw new InvalidOperationException($"{loop.Path} was not found by its label {label}");
        Assert.Equal(loop.Name, disk.Device.Name);
        if (disk.Superblock.Type == Superblock.Ext4)
            encryption.Begin(disk.Device.Name, disk.Superblock, NewVolume(), MakeKey);
        if (encryption.IsCutShort(disk.Device.Path))
            encryption.GoOn(disk.Device.Path, Key);
        said.RemoveAll(static line => line.StartsWith("Finished", StringComparison.Ordinal));
    }

    private ProbedDisk? Look() => new Disks($"LABEL={label}", torn: HeadCopy.Left(Variables), say: said.Add).Look();

    // "begun" is the disk behind the first step; the two traces say what each step writes.
    private byte[] Begun()
    {
        File.Copy(Of("disk"), Of("begun"));
        using (var loop = new Loop(Of("begun")))
            new FirstEncryption(said.Add, Traced("begin"), Variables).Begin(loop.Name, Look()!.Superblock, NewVolume(), MakeKey);
        byte[] header = new byte[HeadCopy.Bytes];
        using (FileStream begun = File.OpenRead(Of("begun")))
            begun.ReadExactly(header);
        File.Copy(Of("begun"), Of("whole"));
        using (var loop = new Loop(Of("whole")))
            new FirstEncryption(static _ => { }, Traced("goon"), Variables).GoOn(loop.Path, Key);
        Assert.Empty(Copies());
        File.Delete(Assert.Single(Keys())); // of a disk that is none of those that follow
        return header;
    }

    private string Traced(string name, string verb = "reencrypt") => Script(name, $"""
        [ "$1" = {verb} ] || exec /usr/sbin/cryptsetup "$@"
        exec strace -y -s 0 -o {Of($"{name}.trace")} -e trace=lseek,write,fsync,fdatasync /usr/sbin/cryptsetup "$@"
        """);

    private sealed record Written(int Number, long At, int Length, int Syncs);

    // The disk's own, with their number among all of the process.
    private List<Written> WritesOf(string name)
    {
        var writes = new List<Written>();
        var places = new Dictionary<string, long>(StringComparer.Ordinal);
        int number = 0, syncs = 0;
        foreach (Match call in Call().Matches(File.ReadAllText(Of($"{name}.trace"))))
        {
            bool isDisk = call.Groups["file"].Value.StartsWith("/dev/loop", StringComparison.Ordinal);
            long result = long.Parse(call.Groups["result"].Value, CultureInfo.InvariantCulture);
            string fd = call.Groups["fd"].Value;
            switch (call.Groups["name"].Value)
            {
                case "lseek" when isDisk:
                    places[fd] = result;
                    break;
                case "write":
                    number++;
                    if (!isDisk)
                        break;
                    long at = places.GetValueOrDefault(fd);
                    writes.Add(new Written(number, at, (int)result, syncs));
                    places[fd] = at + result;
                    break;
                case "fsync" or "fdatasync" when isDisk:
                    syncs++;
                    break;
            }
        }

        return writes;
    }

    private void Cut(string step, Written cut, IReadOnlyList<Written> writes, Action<string> tear)
    {
        Kill(step, cut, tear);
        said.Clear();
        Finishes("cut", $"cut at write {cut} of {writes.Count} in {step}");
    }

    // strace kills the process before this write; what is on the disk then is what the next boot finds, torn.
    private void Kill(string step, Written cut, Action<string> tear)
    {
        File.Copy(Of(step switch { "begin" => "disk", "goon" => "begun", _ => "halfway" }), Of("victim"), overwrite: true);
        Assert.Empty(Copies());
        using (var loop = new Loop(Of("victim")))
        {
            string killed = Script("killed", $"""
                [ ! -e {Of("kept")} ] || exit 1 # the power is off
                [ "$1" = {(step == "repair" ? "repair" : "reencrypt")} ] || exec /usr/sbin/cryptsetup "$@"
                strace -qq -o /dev/null -e inject=write:signal=KILL:when={cut.Number} /usr/sbin/cryptsetup "$@"
                dd if={loop.Path} of={Of("cut")} bs=1M status=none
                cp -a {Variables} {Of("kept")}
                exit 1
                """);
            var encryption = new FirstEncryption(said.Add, killed, Variables);
            if (step == "begin")
                Assert.Throws<NoRootException>(() => encryption.Begin(loop.Name, Look()!.Superblock, NewVolume(), MakeKey));
            else if (step == "goon")
                Assert.Throws<NoRootException>(() => encryption.GoOn(loop.Path, Key));
            else
                encryption.GoOn(loop.Path, Key); // which sees no more after it
        }

        Directory.Delete(Variables, recursive: true);
        Directory.Move(Of("kept"), Variables);
        tear(Of("cut"));
    }

    private void Finishes(string disk, string what = "")
    {
        try
        {
            using (var loop = new Loop(Of(disk)))
                NextBoot(loop);
            HasAllThatWasThere(disk);
            Assert.Empty(Copies());
            Assert.InRange(Keys().Length, 0, 1); // none of what was begun and put back
            Array.ForEach(Keys(), File.Delete); // the next disk is another one
        }
        catch (Exception failed)
        {
            throw new InvalidOperationException($"{what}: {failed.Message}; said: {string.Join(" | ", said)}", failed);
        }
    }

    private static void Tear(string disk, Written cut, IReadOnlyList<Written> writes, string how, byte[] content)
    {
        using FileStream file = File.OpenWrite(disk);
        foreach (Written each in writes.Where(each => each.Syncs == cut.Syncs && each.Number <= cut.Number))
        {
            byte[] bytes = content.Length > 0 && each.At == 0 ? content : Noise(each.Length, each.Number);
            (int from, int to) = how switch
            {
                "nothing" => (0, 0), "a sector" => (0, 512), "a page" => (0, 4096), "all but a page" => (4096, each.Length), _ => (0, each.Length),
            };
            file.Position = each.At + from;
            file.Write(how == "noise" ? Noise(each.Length, each.Number) : bytes, from, to - from);
        }
    }

    // Decrypted again, where it is, the file system is what it was, every byte of it.
    private void HasAllThatWasThere(string disk)
    {
        string header = Of("header"), passphrase = Of("passphrase");
        File.Delete(header);
        File.WriteAllText(passphrase, Key);
        Assert.DoesNotContain("Requirements", Judge.OnPath("cryptsetup").Run("luksDump", Of(disk)), StringComparison.Ordinal);
        Judge.OnPath("cryptsetup").Run("reencrypt", "--decrypt", "--batch-mode", "--header", header, "--force-offline-reencrypt", "--key-file", passphrase, Of(disk));
        using FileStream file = File.OpenRead(Of(disk));
        var now = new byte[original.Length];
        file.ReadExactly(now);
        Assert.True(now.AsSpan().SequenceEqual(original), "what was on the disk is not in the volume");
    }

    private string Uuid() => Superblock.Parse(original.AsSpan(0, Superblock.Length))!.Uuid;

    private void Make(string name, int spare)
    {
        if (original is not null) // the same file system, on another disk
        {
            using FileStream copy = File.Create(Of(name));
            copy.Write(original);
            copy.SetLength((FileSystemMebibytes + spare) * (long)Mebibyte);
            return;
        }

        using (FileStream file = File.Create(Of(name)))
            file.SetLength((FileSystemMebibytes + spare) * (long)Mebibyte);
        Judge.OnPath("mkfs.ext4").Run("-q", "-F", "-b", "4096", "-L", label, "-d", Of("content"), Of(name), $"{FileSystemMebibytes}M");
    }

    private void Write(string disk, long at, byte[] bytes)
    {
        using FileStream file = File.OpenWrite(Of(disk));
        file.Position = at;
        file.Write(bytes);
    }

    private string Script(string name, string text) => Judges.Script.Write(Of(name), text);

    private static byte[] Noise(int length, int seed)
    {
        var bytes = new byte[length];
#pragma warning disable CA5394 // the same noise each time, and no secret
        new Random(seed).NextBytes(bytes);
#pragma warning restore CA5394
        return bytes;
    }

    private string Of(string name) => Path.Combine(directory, name);

    // write(6</dev/loop0>, ""..., 4096) = 4096
    [GeneratedRegex(@"^(?<name>\w+)\((?<fd>\d+)<(?<file>[^>]*)>.*\) += (?<result>\d+)$", RegexOptions.Multiline)]
    private static partial Regex Call();

    private sealed class Loop : IDisposable
    {
        public Loop(string file) => Path = Judge.OnPath("losetup").Run("--find", "--show", file).Trim();

        public string Path { get; }

        public string Name => System.IO.Path.GetFileName(Path);

        public void Dispose() => Judge.OnPath("losetup").Run("--detach", Path);
    }
}
