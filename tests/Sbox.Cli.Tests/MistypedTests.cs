using System.Text.Json;
using Sbox.Delivery;
using Sbox.Judges;
using Sbox.Store;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>What people type who do not know the program yet: each is refused in words that say what to type instead, and nothing is done.</summary>
public sealed class MistypedTests : IDisposable
{
    private const string Recipe = """
        name = "tiny"
        ref = "os/main"
        version = "1.0"
        suite = "trixie"
        programs = false
        """;

    private readonly TempDir temp = new();

    public MistypedTests()
    {
        Directory.CreateDirectory(temp.Of("tree/usr"));
        File.WriteAllText(temp.Of("tree/usr/one"), "one");
        using var repository = Repository.Create(temp.Of("repo"), RepositoryMode.Archive);
        repository.CommitDirectory(temp.Of("tree"), new CommitOptions { Branches = ["os/main"], Subject = "one" });
    }

    public void Dispose() => temp.Dispose();

    [Theory]
    [InlineData("sftp:me@host:/srv/www", "sftp:"), InlineData("ftp://x", "ftp:"), InlineData("http://localhost/www", "http:"), InlineData("web-1:www", "web-1:"), InlineData("USB:/stick", "USB:")]
    public void A_place_of_a_kind_that_nobody_knows_is_no_directory_of_that_name(string place, string scheme)
    {
        Verdict said = Type("publish", "--repo", "repo", "--to", place, "--deltas", "0", "--no-delta-from-nothing");
        Assert.Equal(1, said.ExitCode);
        Assert.Contains($"sbox: {place}: nothing is known of {scheme}; a place is a directory, usb:PATH or s3:https://HOST/BUCKET[/PATH]. ./{place} is", said.Error, StringComparison.Ordinal);
        Assert.Equal(["repo", "tree"], Directory.EnumerateFileSystemEntries(temp.Path).Select(Path.GetFileName).Order());
    }

    [Theory]
    [InlineData("a/b:c"), InlineData("./sftp:x"), InlineData("/srv/x:y"), InlineData("c:/www"), InlineData("www"), InlineData(":x"), InlineData("1st:x"), InlineData("with space:x")]
    public void What_is_no_address_is_a_path(string place) => Assert.Null(PlaceAddress.SchemeOf(place));

    [Fact]
    public void A_directory_whose_name_looks_like_an_address_is_named_by_the_one_that_it_is_in()
    {
        Verdict said = Type("publish", "--repo", "repo", "--to", "./sftp:x", "--deltas", "0", "--no-delta-from-nothing");
        Assert.True(said.ExitCode == 0, said.Error);
        Assert.True(File.Exists(temp.Of("sftp:x/summary")));
    }

    [Fact]
    public void An_upgrade_from_an_address_is_told_of_the_option_for_it()
    {
        Verdict said = Type("upgrade", "--from", "http://localhost/repo");
        Assert.Equal(1, said.ExitCode);
        Assert.Contains("--from takes a directory, and knows nothing of http:", said.Error, StringComparison.Ordinal);
        Assert.Contains("--url=URL", said.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--help >/dev/full 2>/dev/full"), InlineData("store refs --repo nope 2>/dev/full"), InlineData("store refs --repo nope 2>&-"), InlineData("store refs --repo repo >/dev/full"), InlineData("store refs --repo repo >&-")]
    public void Where_nobody_can_be_told_of_an_error_the_exit_code_still_tells_it(string words)
    {
        Judge.OnPath("sh").Ask(temp.Path, null, ["-c", $"{TestedProgram.Sbox} {words}; echo $? >answer"]);
        Assert.Equal("1\n", File.ReadAllText(temp.Of("answer")));
    }

    [Fact]
    public void Where_all_descriptors_are_closed_the_work_is_done_that_the_answer_was_lost_is_told_and_no_file_takes_their_place()
    {
        Judge.OnPath("sh").Ask(temp.Path, null, ["-c", $"{TestedProgram.Sbox} store commit --repo repo -b unseen --tree=dir=tree <&- >&- 2>&-; echo $? >answer"]);
        Assert.Equal("1\n", File.ReadAllText(temp.Of("answer"))); // the commit's name could not be told
        Assert.Contains("unseen", Type("store", "refs", "--repo", "repo").Output, StringComparison.Ordinal);
        Assert.Contains("no errors found", Type("store", "fsck", "--repo", "repo").Output + Type("store", "fsck", "--repo", "repo").Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_plan_of_a_build_is_json_where_that_is_asked_for()
    {
        File.WriteAllText(temp.Of("tiny.toml"), Recipe);
        Verdict said = Type("build", "tiny.toml", "--repo", "repo", "--dry-run", "--json");
        Assert.True(said.ExitCode == 0, said.Error);
        JsonElement plan = JsonDocument.Parse(said.Output).RootElement;
        Assert.True(plan.GetProperty("dry-run").GetBoolean());
        Assert.Equal(("os/main", "1.0"), (plan.GetProperty("ref").GetString(), plan.GetProperty("version").GetString()));
        Assert.StartsWith("recipe    tiny 1.0, ", Type("build", "tiny.toml", "--repo", "repo", "--dry-run").Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("build tree --repo repo", "/tree: it is a directory\n  Name a file\n")]
    [InlineData("build nope.toml --repo repo", "/nope.toml: there is no such file\n  Look at the name again")]
    [InlineData("build nope/nope.toml --repo repo", "/nope/nope.toml: there is no such file or directory\n  Look at the name again")]
    [InlineData("tomb --tomb tomb create --password-file tree", "/tree: it is a directory\n  Name a file\n")]
    [InlineData("serve --repo repo --listen 127.0.0.1:0 --tls-cert nope --tls-key nope", "/nope: there is no such file\n  Look at the name again")]
    [InlineData("keys show a.key", "a.key: it is a file, and an owner's keys are a directory\n  sbox keys list FILE shows")]
    [InlineData("keys show tree", "tree: no owner's keys are there (there is no PK.crt)\n")]
    [InlineData("keys show nope", "nope: there is no such directory\n")]
    [InlineData("publish --repo repo --to www --keys nope", "nope: there is no such directory\n")]
    [InlineData("publish --repo repo --to www --sign-from-file a.pub", "a.pub: it is a public key, and signs nothing\n  Name the private key")]
    public void A_file_that_is_not_what_was_wanted_is_named_with_what_it_is(string words, string error)
    {
        Type("keys", "create", "a.key");
        Verdict said = Type(words.Split(' '));
        Assert.Equal(1, said.ExitCode);
        Assert.Contains(error, said.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("statsu", "Unknown command 'statsu'; was status meant?")]
    [InlineData("store refz --repo repo", "Unknown \"store\" subcommand 'refz'; was refs meant?")]
    [InlineData("status --jsno", "Unknown option --jsno; was --json meant?")]
    [InlineData("frobnicate", "Unknown command 'frobnicate'\n")]
    [InlineData("publish --repo repo --to www --deltas -3", "--deltas -3: a number of versions, 0 for none")]
    [InlineData("publish --repo repo --to www --depth -2", "--depth -2: a number of versions, -1 for all")]
    [InlineData("tomb --tomb tomb forget --keep-daily abc", "--keep-daily: 'abc' is no number")]
    [InlineData("tomb --tomb tomb snapshots --password-fd abc", "--password-fd: 'abc' is no number")]
    [InlineData("image os/main --repo repo -o disk --free-mib many", "--free-mib=many: expected 0 to")]
    public void A_word_or_number_that_is_none_is_named_without_a_word_of_the_machinery(string words, string error)
    {
        Verdict said = Type(words.Split(' '));
        Assert.Equal(2, said.ExitCode);
        Assert.Contains(error, said.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("System.", said.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("store refs --repo \"$name\""), InlineData("keys list \"$name\"")]
    public void A_terminal_does_not_obey_a_name_and_a_pipe_gets_it_as_it_is(string words)
    {
        Type("keys", "create", "a\e[31m.key");
        File.WriteAllText(temp.Of("run"), $"name=$(printf 'a\\033[31m.key')\n{TestedProgram.Sbox} {words}\n");
        string terminal = Judge.OnPath("script").Ask(temp.Path, null, ["-qc", "sh ./run", "/dev/null"]).Output;
        Assert.Contains("a?[31m.key", terminal, StringComparison.Ordinal);
        Assert.DoesNotContain("\e[31m", terminal, StringComparison.Ordinal);
        Verdict piped = Judge.OnPath("sh").Ask(temp.Path, null, ["./run"]);
        Assert.Contains("a\e[31m.key", piped.Output + piped.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Programs_are_told_how_far_the_deltas_are_that_a_publication_makes()
    {
        // Digits at random are what a compressor is slow at: four seconds of a processor. A file of more than 4 MiB would be left to be fetched by itself.
        File.WriteAllText(temp.Of("tree/usr/digits"), new Random(1).GetHexString(3_800_000));
        using (var repository = Repository.Open(temp.Of("repo")))
            repository.CommitDirectory(temp.Of("tree"), new CommitOptions { Branches = ["os/main"], Subject = "two" });
        Verdict said = Type("publish", "--repo", "repo", "--to", "www", "--deltas", "0", "--json");
        Assert.True(said.ExitCode == 0, said.Error);
        JsonElement[] told = [.. said.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => JsonDocument.Parse(line).RootElement).Where(static at => at.TryGetProperty("progress", out _))];
        JsonElement[] deltas = [.. told.Where(static at => at.GetProperty("progress").GetString() == "deltas")];
        Assert.NotEmpty(deltas);
        Assert.All(deltas, static at => Assert.Equal(1, at.GetProperty("total").GetInt64()));
        Assert.True(deltas[^1].GetProperty("seconds").GetDouble() > 0);
    }

    private Verdict Type(params string[] words) => Judge.OnPath(TestedProgram.Sbox).Ask(temp.Path, null, words);
}
