using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

public sealed class DeltaTests
{
    private static readonly string[] NoFallback = ["--min-fallback-size=0"];

    [Theory]
    [InlineData(RepositoryMode.Bare, false, false)]
    [InlineData(RepositoryMode.Bare, true, true)]
    [InlineData(RepositoryMode.BareUser, false, true)]
    [InlineData(RepositoryMode.BareUser, true, false)]
    public void Real_ostree_applies_what_we_make_and_we_apply_what_it_makes(RepositoryMode mode, bool inline, bool bigEndian)
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        var name = new DeltaName(old, fresh);
        source.MakeDelta(name, new DeltaOptions { MinimumFallback = 0, Inline = inline, BigEndian = bigEndian, FileName = scratch["ours.delta"] });
        Directory.CreateDirectory(scratch["theirs"]);
        Judge.Ostree.Run([
            $"--repo={source.Path}", "static-delta", "generate", $"--from={old}", $"--to={fresh}", .. NoFallback, $"--filename={scratch["theirs/superblock"]}",
            .. inline ? (string[])["--inline"] : [], .. bigEndian ? (string[])["--swap-endianness"] : []]);

        foreach ((string delta, bool weApply) in ((string, bool)[])[(scratch["ours.delta"], false), (scratch["ours.delta"], true), (scratch["theirs/superblock"], true)])
        {
            using Repository target = Repository.Create(scratch[$"target-{Guid.NewGuid():N}"], mode);
            target.PullLocal(source, new PullLocalOptions { Refs = [$"{old}"] });
            if (weApply)
                Assert.Equal(name, target.ApplyDelta(delta));
            else
                Judge.Ostree.Run($"--repo={target.Path}", "static-delta", "apply-offline", delta);
            Assert.Empty(target.Fsck().Problems);
            Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={target.Path}"));
            Assert.Equal(fresh, target.Resolve($"{fresh}"));
        }
    }

    [Fact]
    public void A_delta_from_nothing_brings_a_commit_and_all_that_it_needs()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out _, out Checksum fresh);
        source.MakeDelta(new DeltaName(null, fresh), new DeltaOptions { MinimumFallback = 0 });
        using Repository target = Repository.Create(scratch["target"], RepositoryMode.Archive);
        target.ApplyDelta(Path.Combine(source.Path, new DeltaName(null, fresh).Directory));
        Assert.Empty(target.Fsck().Problems);
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={target.Path}"));
    }

    [Fact]
    public void An_archive_applies_differences_too()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        DeltaReport report = source.MakeDelta(new DeltaName(old, fresh));
        Assert.True(report.Differences > 0);
        using Repository target = Repository.Create(scratch["target"], RepositoryMode.Archive);
        target.PullLocal(source, new PullLocalOptions { Refs = [$"{old}"] });
        target.ApplyDelta(Path.Combine(source.Path, report.Name.Directory));
        Assert.Empty(target.Fsck().Problems);
    }

    [Fact]
    public void Real_ostree_shows_what_we_made_as_we_show_it_ourselves()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        var name = new DeltaName(old, fresh);
        source.MakeDelta(name, new DeltaOptions { MinimumFallback = 1 });
        string shown = Judge.Ostree.Run($"--repo={source.Path}", "static-delta", "show", $"{name}");
        DeltaSuperblock superblock = DeltaSuperblock.Parse(source.ReadSuperblock($"{name}"));
        DeltaPartContent part = source.ReadDeltaPart(superblock, 0);
        Assert.Contains($"Number of parts: {superblock.Parts.Count}\n", shown);
        Assert.Contains($"Number of fallback entries: {superblock.Fallbacks.Count}\n", shown);
        Assert.NotEmpty(superblock.Fallbacks);
        Assert.Contains($"nmodes={part.Modes} nxattrs={part.Xattrs} blobsize={part.RawSize} opsize={part.OperationsSize}\n", shown);
        Assert.Contains($"bspatch={part.Operations.Patch}\n", shown);
        Assert.Contains($"{name}", Judge.Ostree.Run($"--repo={source.Path}", "static-delta", "list"));
    }

    [Fact]
    public void Offline_a_delta_that_leaves_something_out_is_refused_as_a_whole()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        DeltaReport report = source.MakeDelta(new DeltaName(old, fresh), new DeltaOptions { MinimumFallback = 1 });
        using Repository target = Repository.Create(scratch["target"], RepositoryMode.Bare);
        target.PullLocal(source, new PullLocalOptions { Refs = [$"{old}"] });
        string path = Path.Combine(source.Path, report.Name.Directory);
        Assert.Contains("nonempty http fallback entries", Assert.Throws<DeltaException>(() => target.ApplyDelta(path)).Message);
        Assert.False(target.Has(new ObjectName(fresh, ObjectType.Commit)));
    }

    [Fact]
    public void Without_the_commit_that_it_needs_a_delta_is_refused()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        DeltaReport report = source.MakeDelta(new DeltaName(old, fresh));
        using Repository target = Repository.Create(scratch["target"], RepositoryMode.Bare);
        string path = Path.Combine(source.Path, report.Name.Directory);
        Assert.Contains($"{old}", Assert.Throws<DeltaException>(() => target.ApplyDelta(path)).Finding);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Indexes_and_the_summary_list_deltas_as_real_ostree_lists_them(bool inSummary)
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        source.MakeDelta(new DeltaName(old, fresh));
        source.MakeDelta(new DeltaName(null, fresh));
        if (!inSummary)
            source.WriteConfig(source.Config.With("core", "no-deltas-in-summary", "true"));
        source.WriteSummary();
        byte[] index = source.Dir.ReadAll(DeltaName.IndexOf(fresh));
        string summary = Judge.Ostree.Run($"--repo={source.Path}", "summary", "--raw", "-v");
        Assert.Equal(inSummary, summary.Contains("ostree.static-deltas", StringComparison.Ordinal));
        source.Dir.RemoveAll("delta-indexes");
        Judge.Ostree.Run($"--repo={source.Path}", "static-delta", "reindex");
        Assert.Equal(index, source.Dir.ReadAll(DeltaName.IndexOf(fresh)));
        Assert.Equal([fresh], source.DeltaIndexes());

        Assert.True(source.DeleteDelta(new DeltaName(old, fresh)));
        Assert.True(source.DeleteDelta(new DeltaName(null, fresh)));
        source.ReindexDeltas();
        Assert.Empty(source.DeltaIndexes());
    }

    [Fact]
    public async Task A_pull_over_http_takes_a_delta_where_one_fits_and_fetches_what_it_leaves_out()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        source.MakeDelta(new DeltaName(old, fresh), new DeltaOptions { MinimumFallback = 100_000 });
        source.WriteSummary();
        using var server = new StaticServer(source.Path);
        using Repository target = Repository.Create(scratch["target"], RepositoryMode.Bare);
        await target.Pull(new PullOptions { Url = server.Url, Refs = [$"{old}"] });
        PullResult planned = await target.Pull(new PullOptions { Url = server.Url, Refs = [$"{fresh}"], Deltas = DeltaUse.Required, DryRun = true });
        Assert.False(target.Has(new ObjectName(fresh, ObjectType.Commit)));
        PullResult result = await target.Pull(new PullOptions { Url = server.Url, Refs = [$"{fresh}"] });
        Assert.Equal(1, result.Deltas.Parts);
        Assert.Equal(planned.Deltas.Size, result.Deltas.Size);
        Assert.Empty(target.Fsck().Problems);
        Assert.False(target.IsPartial(fresh));

        using Repository other = Repository.Create(scratch["other"], RepositoryMode.Bare);
        await Assert.ThrowsAsync<PullException>(() => other.Pull(new PullOptions { Url = server.Url, Refs = [$"{fresh}"], Deltas = DeltaUse.Required }));
        PullResult plain = await other.Pull(new PullOptions { Url = server.Url, Refs = [$"{fresh}"], Deltas = DeltaUse.Never });
        Assert.Equal(0, plain.Deltas.TotalParts);
    }

    [Fact]
    public async Task A_delta_with_a_damaged_part_leaves_no_commit_that_looks_whole()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        DeltaReport report = source.MakeDelta(new DeltaName(old, fresh), new DeltaOptions { MinimumFallback = 0 });
        source.WriteSummary();
        string part = source.Dir.Of(report.Name.Part(0));
        byte[] good = File.ReadAllBytes(part), bad = [.. good[..^1], (byte)~good[^1]];
        using var server = new StaticServer(source.Path);
        using Repository target = Repository.Create(scratch["target"], RepositoryMode.Bare);
        target.PullLocal(source, new PullLocalOptions { Refs = [$"{old}"] });
        foreach (Func<Task> deed in (Func<Task>[])[() => target.Pull(new PullOptions { Url = server.Url, Refs = [$"{fresh}"] }), Apply])
        {
            File.WriteAllBytes(part, bad);
            await Assert.ThrowsAsync<DeltaException>(deed);
            target.CommitDirectory(scratch.Tree($"unrelated-{deed.Method.Name.Length}"), new CommitOptions());
            Assert.False(target.Has(new ObjectName(fresh, ObjectType.Commit)));
            Assert.True(target.Fsck().IsWhole);
        }

        File.WriteAllBytes(part, good);
        await Apply();
        Assert.False(target.IsPartial(fresh));
        Assert.True(target.Fsck().IsWhole);

        Task Apply()
        {
            target.ApplyDelta(Path.Combine(source.Path, report.Name.Directory));
            return Task.CompletedTask;
        }
    }

    [Fact]
    public void A_commit_of_which_neither_the_delta_nor_the_repository_has_all_is_marked_and_a_pull_completes_it()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        DeltaReport report = source.MakeDelta(new DeltaName(old, fresh), new DeltaOptions { MinimumFallback = 0 });
        using Repository target = Repository.Create(scratch["target"], RepositoryMode.Bare);
        target.PullLocal(source, new PullLocalOptions { Refs = [$"{old}"] });
        var hello = new ObjectName(source.Find(old, "/hello").Content!.Value, ObjectType.File);
        target.Dir.Unlink("objects/" + hello.LoosePath(RepositoryMode.Bare));
        Assert.Equal(hello, Assert.Throws<ObjectMissingException>(() => target.ApplyDelta(Path.Combine(source.Path, report.Name.Directory))).Name);
        target.WriteDetachedMetadata(old, VariantDictionary.Empty); // publishes what waits
        Assert.True(target.IsPartial(fresh));
        target.PullLocal(source, new PullLocalOptions { Refs = [$"{fresh}"] });
        Assert.False(target.IsPartial(fresh));
        Assert.True(target.Fsck().IsWhole);
    }

    [Fact]
    public void A_superblock_that_is_not_the_one_that_is_listed_is_refused()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        var name = new DeltaName(old, fresh);
        source.MakeDelta(name);
        source.WriteSummary();
        source.MakeDelta(name, new DeltaOptions { BigEndian = true });
        using Repository target = Repository.Create(scratch["target"], RepositoryMode.Bare);
        target.PullLocal(source, new PullLocalOptions { Refs = [$"{old}"] });
        Assert.Throws<PullException>(() => target.PullLocal(source, new PullLocalOptions { Refs = [$"{fresh}"], RequireDeltas = true }));
        source.ReindexDeltas();
        Assert.Equal(1, target.PullLocal(source, new PullLocalOptions { Refs = [$"{fresh}"], RequireDeltas = true }).Deltas.Parts);
    }

    // 3,000 deltas with a few bytes changed: errors are fine, anything else is not, and nothing of them is kept.
    [Fact]
    public void Changed_bytes_give_typed_errors_and_add_nothing()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        source.MakeDelta(new DeltaName(old, fresh), new DeltaOptions { MinimumFallback = 0, Inline = true, FileName = scratch["d"] });
        byte[] good = File.ReadAllBytes(scratch["d"]);
        using Repository target = Repository.Create(scratch["target"], RepositoryMode.Bare);
        target.PullLocal(source, new PullLocalOptions { Refs = [$"{old}"] });
        target.Fsync = false;
        var random = new Random(20260501);
        for (int round = 0; round < 3000; round++)
        {
            byte[] bad = round % 50 == 0 ? good[..random.Next(good.Length)] : (byte[])good.Clone();
            for (int change = random.Next(1, 4); change > 0 && bad.Length > 0; change--)
                bad[random.Next(Math.Min(bad.Length, round % 2 == 0 ? 700 : bad.Length))] = (byte)random.Next(256);
            Refused(() => DeltaSuperblock.Parse(bad));
            if (round % 30 != 0)
                continue;
            File.WriteAllBytes(scratch["bad"], bad);
            Refused(() => target.ApplyDelta(scratch["bad"]));
        }

        Assert.Empty(target.Fsck().Problems);
    }

    [Fact]
    public void Changed_operations_and_raw_bytes_give_typed_errors()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        var name = new DeltaName(old, fresh);
        source.MakeDelta(name, new DeltaOptions { MinimumFallback = 0 });
        DeltaPartHeader header = DeltaSuperblock.Parse(source.ReadSuperblock($"{name}")).Parts[0];
        byte[] good = Unpacked(source.Dir.ReadAll(name.Part(0)));
        using Dir tmp = Dir.Open(scratch.Root);
        var random = new Random(7);
        for (int round = 0; round < 3000; round++)
        {
            var bad = (byte[])good.Clone();
            // The end has the operations, the beginning the tables.
            for (int change = random.Next(1, 4); change > 0; change--)
                bad[random.Next(3) == 0 ? random.Next(200) : bad.Length - 1 - random.Next(400)] = (byte)random.Next(256);
            Refused(() =>
            {
                using DeltaPart part = DeltaPart.Open(new MemoryStream([0, .. bad]), null, 1 << 30, tmp, "part");
                foreach (DeltaRecipe recipe in part.Recipes(header.Objects))
                {
                    if (recipe.Mode >= 0)
                        part.HeaderOf(recipe);
                }
            });
        }
    }

    [Fact]
    public void A_part_that_unpacks_to_far_more_than_its_objects_is_stopped()
    {
        using var scratch = new Scratch();
        using Dir tmp = Dir.Open(scratch.Root);
        var bomb = new MemoryStream();
        bomb.WriteByte((byte)'x');
        using (var xz = new XzEncoder(bomb, new XzSettings(1, 1 << 20)))
        {
            for (int i = 0; i < 64; i++)
                xz.Write(new byte[1 << 20]);
            xz.Finish();
        }

        bomb.Position = 0;
        Assert.Contains("at most", Assert.Throws<DeltaException>(() => DeltaPart.Open(bomb, null, 1 << 20, tmp, "part")).Message);
    }

    [Fact]
    public void A_decompressor_that_is_used_again_tells_of_the_next_stream_and_of_nothing_before_it()
    {
        using var decoders = new XzDecoders();
        byte[][] contents = [[.. Enumerable.Repeat((byte)1, 3_000_000)], [], [.. "short"u8], [.. Enumerable.Range(0, 200_000).Select(static i => (byte)(i * i >> 3))]];
        foreach (byte[] content in contents.Concat(contents))
        {
            var packed = new MemoryStream();
            using (var xz = new XzEncoder(packed, new XzSettings(1, 1 << 20)))
            {
                xz.Write(content);
                xz.Finish();
            }

            Assert.Equal(content, Read(packed.ToArray()));
            Assert.Throws<InvalidDataException>(() => Read(packed.ToArray()[..^1]));
            Assert.Equal(content, Read(packed.ToArray()));
        }

        byte[] Read(byte[] packed)
        {
            var content = new MemoryStream();
            decoders.Use(new MemoryStream(packed), xz => xz.CopyTo(content));
            return content.ToArray();
        }
    }

    private static byte[] Unpacked(byte[] part)
    {
        var content = new MemoryStream();
        using var xz = new XzDecoder(new MemoryStream(part, 1, part.Length - 1));
        xz.CopyTo(content);
        return content.ToArray();
    }

    private static void Refused(Action act)
    {
        try
        {
            act();
        }
        catch (Exception expected) when (expected is RepositoryException or MalformedException)
        {
            Assert.NotEmpty(expected.Message);
        }
    }

    [Theory, InlineData(RepositoryMode.Bare), InlineData(RepositoryMode.Archive)]
    public void A_large_file_that_changed_little_is_made_of_stretches_of_the_old_one_and_real_ostree_applies_that(RepositoryMode mode)
    {
        const int changed = 100_000;
        using var scratch = new Scratch();
        string tree = scratch.Tree();
        using Repository source = Repository.Create(scratch["source"], mode);
        var content = new byte[12 * 1024 * 1024];
        new Random(5).NextBytes(content);
        using Dir root = Dir.Open(tree);
        Scratch.Write(root, "database", content);
        Checksum old = source.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
        root.Unlink("database");
        // Something put in at the beginning, something changed in the middle, the end taken off.
        new Random(6).NextBytes(content.AsSpan(5_000_000, changed));
        Scratch.Write(root, "database", [.. "new"u8, .. content.AsSpan(0, content.Length - changed)]);
        Checksum fresh = source.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
        // More than may be compared byte by byte, so that no difference could do it.
        DeltaReport report = source.MakeDelta(new DeltaName(old, fresh), new DeltaOptions { MinimumFallback = 0, MaximumDifference = 1_000_000, Inline = true, FileName = scratch["ours.delta"] });
        Assert.Equal((1, 0), (report.Copied, report.Differences));
        Assert.InRange(new FileInfo(scratch["ours.delta"]).Length, changed, changed * 2);
        foreach (bool weApply in (bool[])[false, true])
        {
            using Repository target = Repository.Create(scratch[$"target-{weApply}"], RepositoryMode.Bare);
            target.PullLocal(source, new PullLocalOptions { Refs = [$"{old}"] });
            if (weApply)
                target.ApplyDelta(scratch["ours.delta"]);
            else
                Judge.Ostree.Run($"--repo={target.Path}", "static-delta", "apply-offline", scratch["ours.delta"]);
            Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={target.Path}"));
            Assert.Equal(fresh, target.Resolve($"{fresh}"));
        }
    }

    // Less than a quarter in common is worth differences all the same, where the rest is no smaller by itself. Whatever --min-fallback-size says.
    [Theory, InlineData(0), InlineData(500_000), InlineData(4_000_000)]
    public void What_has_little_in_common_with_its_old_version_travels_in_the_fewer_bytes_of_two(long fallback)
    {
        using var scratch = new Scratch();
        using Repository source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        var image = new byte[1_000_000];
        var random = new Random(11);
        random.NextBytes(image);
        Checksum Commit(int day)
        {
            Directory.CreateDirectory(scratch[$"{day}"]);
            File.WriteAllBytes(scratch[$"{day}/image"], image);
            return source.CommitDirectory(scratch[$"{day}"], new CommitOptions { Branches = ["main"], Timestamp = Scratch.Time.AddDays(day) });
        }

        Checksum old = Commit(1);
        random.NextBytes(image.AsSpan(150_000)); // 15 of 100 are as they were
        Checksum fresh = Commit(2);
        DeltaReport report = source.MakeDelta(new DeltaName(old, fresh), new DeltaOptions { MinimumFallback = fallback });
        Assert.Equal((1, 1, 0), (report.Modified, report.Differences, report.Fallbacks.Count));
        Assert.InRange(report.Size, 850_000, 870_000);
        using Repository target = Repository.Create(scratch["target"], RepositoryMode.Bare);
        target.PullLocal(source, new PullLocalOptions { Refs = [$"{old}"] });
        Judge.Ostree.Run($"--repo={target.Path}", "static-delta", "apply-offline", Path.Combine(source.Path, report.Name.Directory));
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={target.Path}"));
    }

    [Fact]
    public void A_large_delta_that_holds_its_parts_is_made_and_applied()
    {
        const int size = 40 * 1024 * 1024;
        using var scratch = new Scratch();
        Directory.CreateDirectory(scratch["tree"]);
        var content = new byte[size];
        new Random(7).NextBytes(content);
        File.WriteAllBytes(scratch["tree/file"], content);
        using Repository source = Repository.Create(scratch["source"], RepositoryMode.BareUser);
        var name = new DeltaName(null, source.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"] }));
        using Repository target = Repository.Create(scratch["target"], RepositoryMode.BareUser);
        source.MakeDelta(name, new DeltaOptions { MinimumFallback = 0, Inline = true, FileName = scratch["whole.delta"] });
        target.ApplyDelta(scratch["whole.delta"]);
        Assert.True(new FileInfo(scratch["whole.delta"]).Length > size);
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={target.Path}"));
    }

    /// <summary>A repository with two versions of a tree: programs that changed a little, new files, links, xattrs, and some of every mode.</summary>
    private static Repository Two(Scratch scratch, out Checksum old, out Checksum fresh)
    {
        Repository source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        string tree = scratch.Tree();
        var program = new byte[300_000];
        new Random(3).NextBytes(program);
        using Dir root = Dir.Open(tree);
        Scratch.Write(root, "program", program, 0x1ED);
        Scratch.Write(root, "libfoo.so.1.2", program.AsSpan(0, 150_000).ToArray());
        old = source.CommitDirectory(tree, new CommitOptions { Branches = ["main"], Timestamp = Scratch.Time });
        for (int i = 0; i < program.Length; i += 997)
            program[i]++;
        root.Unlink("program");
        Scratch.Write(root, "program", [1, 2, 3, .. program], 0x9ED /* 04755 */);
        root.Unlink("libfoo.so.1.2");
        Scratch.Write(root, "libfoo.so.1.3", program.AsSpan(50, 149_000).ToArray());
        Xattrs.Set(root, "libfoo.so.1.3", new Xattr("user.new", "v"u8.ToArray()));
        root.Symlink("libfoo.so.1.3", "libfoo.so");
        var unlike = new byte[200_000];
        new Random(4).NextBytes(unlike);
        Scratch.Write(root, "etc/new", unlike);
        fresh = source.CommitDirectory(tree, new CommitOptions { Branches = ["main"], Timestamp = Scratch.Time.AddDays(30) });
        return source;
    }
}
