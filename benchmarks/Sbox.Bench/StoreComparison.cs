namespace Sbox.Bench;

/// <summary>One line of the table.</summary>
internal sealed record Row(string Work, Cost Ours, Cost Theirs);

/// <summary>The same work by both programs, in turn, so that what else the machine does falls on both.</summary>
internal sealed class StoreComparison(string ours, IReadOnlyList<string> theirs, string tree, string work, int rounds)
{
    public IEnumerable<Row> Run()
    {
        foreach (string mode in (string[])["bare", "bare-user", "archive"])
        {
            yield return Pair($"commit into {mode}", (who, repo) =>
            {
                Fresh(who, repo, mode);
                return [.. who, $"--repo={repo}", "commit", "-b", "bench", $"--tree=dir={tree}", "--timestamp=@1700000000"];
            });
            yield return Pair($"commit again into {mode}, unchanged",
                (who, repo) => [.. who, $"--repo={repo}", "commit", "-b", "bench", $"--tree=dir={tree}", "--timestamp=@1700000001"]);
            yield return Pair($"fsck {mode}", (who, repo) => [.. who, $"--repo={repo}", "fsck", "-q"]);
            if (mode == "bare")
            {
                yield return Pair("checkout -H from bare", (who, repo) => Checkout(who, repo, "-H"));
                yield return Pair("checkout by copy from bare", (who, repo) => Checkout(who, repo, "-C"));
            }
            else if (mode == "archive")
            {
                yield return Pair("pull-local archive to bare", (who, repo) =>
                {
                    Fresh(who, repo + ".bare", "bare");
                    return [.. who, $"--repo={repo}.bare", "pull-local", repo, "bench"];
                });
            }
        }

        foreach (Row row in Deltas())
            yield return row;
        yield return Pair("start: --version", (who, _) => [.. who, "--version"]);
    }

    // Once only: theirs takes minutes.
    private IEnumerable<Row> Deltas()
    {
        string repo = Path.Combine(work, "deltas");
        (string old, string fresh) = DeltaTrees.Make(work);
        Fresh([.. theirs], repo, "bare-user");
        foreach ((string branch, string from) in ((string, string)[])[("old", old), ("fresh", fresh)])
            Timed.Run([.. theirs, $"--repo={repo}", "commit", "-b", branch, $"--tree=dir={from}", "--owner-uid=0", "--owner-gid=0", "--no-xattrs"]);
        Row made = Once("static delta generate", (who, name) =>
            [.. who, $"--repo={repo}", "static-delta", "generate", "--inline", "--min-fallback-size=0", "--from=old", "--to=fresh", $"--filename={work}/{name}.delta"]);
        DeltaSizes = (new FileInfo($"{work}/ours.delta").Length, new FileInfo($"{work}/theirs.delta").Length);
        yield return made;
        // The same delta for both.
        yield return Once("static delta apply", (who, name) =>
        {
            string target = $"{work}/{name}.applied";
            Fresh(who, target, "bare-user");
            Timed.Run([.. who, $"--repo={target}", "pull-local", repo, "old"]);
            return [.. who, $"--repo={target}", "static-delta", "apply-offline", $"{work}/theirs.delta"];
        });
    }

    private int aside;

    /// <summary>Bytes of the delta that each program made; 0 before.</summary>
    public (long Ours, long Theirs) DeltaSizes { get; private set; }

    private Row Once(string name, Func<string[], string, string[]> command)
    {
        Console.Error.WriteLine(name);
        return new Row(name, Timed.Run(command(WithTheirCompressor(), "ours")), Timed.Run(command([.. theirs], "theirs")));
    }

    // Most of a delta's time is liblzma's, and the host's may be some years older than the one that the judge brings.
    private string[] WithTheirCompressor()
    {
        const string name = "liblzma.so.5";
        string libraries = Path.Combine(work, "compressor"), copy = Path.Combine(libraries, name);
        if (!File.Exists(copy))
        {
            Directory.CreateDirectory(libraries);
            string found = Directory.EnumerateFiles(Path.Combine(Judges.Judge.Root, "usr/lib") + "/", name, new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = 0 }).First();
            File.Copy(found, copy);
        }

        return ["env", $"LD_LIBRARY_PATH={libraries}", ours];
    }

    private Row Pair(string name, Func<string[], string, string[]> command)
    {
        Console.Error.WriteLine(name);
        List<Cost> ourCosts = [], theirCosts = [];
        for (int round = 0; round < rounds; round++)
        {
            ourCosts.Add(Timed.Run(command([ours], Path.Combine(work, "ours"))));
            theirCosts.Add(Timed.Run(command([.. theirs], Path.Combine(work, "theirs"))));
        }

        return new Row(name, Cost.MedianOf(ourCosts), Cost.MedianOf(theirCosts));
    }

    private void Fresh(string[] who, string repo, string mode)
    {
        PutAside(repo);
        Timed.Run([.. who, $"--repo={repo}", "init", $"--mode={mode}"]);
    }

    // Deleted at the end of all: ext4 gives no inode out again within five minutes, and searches long for others, on whoever's turn it is.
    private void PutAside(string path)
    {
        if (!Directory.Exists(path))
            return;
        Directory.CreateDirectory(Path.Combine(work, "aside"));
        Directory.Move(path, Path.Combine(work, "aside", $"{aside++}"));
    }

    private string[] Checkout(string[] who, string repo, string how)
    {
        string to = repo + ".checkout";
        PutAside(to);
        return [.. who, $"--repo={repo}", "checkout", how, "bench", to];
    }
}
