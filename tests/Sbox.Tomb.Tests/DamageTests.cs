using Sbox.Codecs;

namespace Sbox.Tomb.Tests;

/// <summary>One damaged file of a tomb is named, and is in the way of nothing else; the program itself, as people type it.</summary>
public sealed class DamageTests : IAsyncLifetime
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private readonly Place place = new();
    private TombRepository tomb = null!;

    public async ValueTask InitializeAsync()
    {
        Directory.CreateDirectory(place["home"]);
        File.WriteAllText(place["home/letter"], "dear");
        tomb = await Place.Create(place.Backend());
    }

    public async ValueTask DisposeAsync()
    {
        await tomb.DisposeAsync();
        place.Dispose();
    }

    [Fact]
    public async Task Where_nothing_of_what_is_named_is_there_nothing_is_written()
    {
        NothingSavedException said = await Assert.ThrowsAsync<NothingSavedException>(() => Saving.Save(tomb, place["hme"], place["none/at/all"]));
        Assert.Equal(2, said.Unsaved.Count);
        Assert.Contains(place["hme"], said.Message, StringComparison.Ordinal);
        Assert.Empty(await tomb.Snapshots(Cancel));
        Assert.Empty(await tomb.Backend.List(StoredFileType.Pack, Cancel));
        SaveReport some = await Saving.Save(tomb, place["hme"], place["home"]);
        Assert.Equal(place["hme"], Assert.Single(some.Unsaved).Path);
        Assert.NotNull(some.Snapshot);
        Directory.CreateDirectory(place["empty"]);
        Assert.NotNull((await Saving.Save(tomb, place["empty"])).Snapshot);
        Assert.NotNull((await Saving.Save(tomb, place["home/letter"])).Snapshot);
        Assert.NotNull((await Saving.Save(tomb, place["home/letter"])).Snapshot); // not read again
    }

    [Fact]
    public void An_empty_word_for_a_path_is_a_wrong_command_line()
    {
        (int code, string output, string error) = Run("save", "");
        Assert.True(code == 2, $"{code}\n{output}{error}");
        Assert.Contains("PATH is empty", error, StringComparison.Ordinal);
        Assert.Equal(2, Run("restore", "--to", "").Code);
    }

    [Fact]
    public async Task A_damaged_snapshot_is_named_and_the_others_are_listed_saved_beside_and_restored()
    {
        await Saving.Save(tomb, place["home"]);
        File.WriteAllText(place["home/letter"], "dear me");
        SaveReport newest = await Saving.Save(tomb, place["home"]);
        string lost = newest.Snapshot!.Id.ToString();
        Spoil($"tomb/snapshots/{lost}");

        // This machine has not seen the damaged one: it may be newer.
        (int code, string output, string error) = Run("restore", "latest", "--to", place["out"], "--path", place["home"]);
        Assert.True(code == 3, $"{code}\n{output}{error}");
        Assert.Contains($"may be newer: {lost[..8]}", error, StringComparison.Ordinal);
        Assert.Equal("dear", File.ReadAllText(place["out/letter"]));

        (code, output, error) = Run("snapshots");
        Assert.True(code == 3, $"{code}\n{output}{error}");
        Assert.Single(output.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Contains($"snapshots/{lost}", error, StringComparison.Ordinal);
        (code, output, error) = Run("save", place["home"]);
        Assert.True(code == 0, $"{code}\n{output}{error}");
        Assert.Contains("saved snapshot", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_looks_into_all_snapshots_names_a_damaged_one_and_looks_into_the_others()
    {
        SaveReport first = await Saving.Save(tomb, place["home"]);
        File.WriteAllText(place["home/letter"], "dear me");
        SaveReport second = await Saving.Save(tomb, place["home"]);
        string lost = (await Saving.Save(tomb, place["home"])).Snapshot!.Id.ToString();
        Spoil($"tomb/snapshots/{lost}");
        Assert.Equal(2, Named("find", "letter").Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.Equal("", Named("find", "nothing of this name"));
        Assert.Contains("M  " + place["home/letter"], Named("diff", first.Snapshot!.Id.ToString(), "latest"), StringComparison.Ordinal);
        Assert.StartsWith("2 snapshots", Named("stats"), StringComparison.Ordinal);
        Assert.Equal("", Named("conflicts"));
        Assert.Equal(0, Run("diff", first.Snapshot.Id.ToString(), second.Snapshot!.Id.ToString()).Code); // as with restore: of these two all is known
        Assert.Equal(0, Run("import", place["home"]).Code);
        Assert.Contains($"snapshots/{lost}", Run("conflicts", "--merge").Error, StringComparison.Ordinal);
        Assert.Equal(1, Run("conflicts", "--merge").Code); // what is merged is compared with what both came out of

        string Named(params string[] arguments)
        {
            (int code, string output, string error) = Run(arguments);
            Assert.True(code == 3, $"{string.Join(' ', arguments)}: {code}\n{output}{error}");
            Assert.Contains($"snapshots/{lost}", error, StringComparison.Ordinal);
            return output;
        }
    }

    [Fact]
    public async Task Of_a_repository_with_a_damaged_snapshot_the_others_are_imported()
    {
        await Saving.Save(tomb, place["home"]);
        string lost = (await Saving.Save(tomb, place["home"])).Snapshot!.Id.ToString();
        Spoil($"tomb/snapshots/{lost}");
        await using TombRepository into = await Place.Create(new DirectoryBackend(place["into"]));
        (int code, string output, string error) = SboxProgram.Run(
            place, "tomb", "--tomb", place["into"], "--password-file", place.PasswordFile, "import", place.TombPath, "--from-password-file", place.PasswordFile);
        Assert.True(code == 3, $"{code}\n{output}{error}");
        Assert.Contains($"snapshots/{lost}", error, StringComparison.Ordinal);
        Assert.Single(await into.Snapshots(Cancel));
    }

    [Fact]
    public async Task Where_a_directory_is_lost_find_and_ls_name_it_and_show_the_rest()
    {
        Directory.CreateDirectory(place["home/plans"]);
        File.WriteAllText(place["home/plans/one"], "plan");
        await Saving.Save(tomb, place["home"]);
        await tomb.LoadIndex(Cancel);
        Checksum plans = await Saving.TreeOf(tomb, (await tomb.Snapshots(Cancel))[0].Tree, place["home/plans"]);
        Assert.True(tomb.Index.TryFind(BlobType.Tree, plans, out BlobLocation where));
        Spoil($"tomb/{new StoredFile(StoredFileType.Pack, where.Pack.ToString()).Path}", (int)where.Offset);
        foreach (string[] command in (string[][])[["find", "letter"], ["ls", "latest"], ["ls", "latest", place["home"]]])
        {
            (int code, string output, string error) = Run(command);
            Assert.True(code == 3, $"{string.Join(' ', command)}: {code}\n{output}{error}");
            Assert.Contains(place["home/letter"], output, StringComparison.Ordinal);
            Assert.Contains($"damaged: {place["home/plans"]} in snapshot", error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task What_is_nowhere_is_said_to_be_nowhere()
    {
        await Saving.Save(tomb, place["home"]);
        SaveReport newest = await Saving.Save(tomb, place["home"]);
        (int code, string output, string error) = Run("find", "lettre", "*.odt");
        Assert.Equal((1, ""), (code, output));
        Assert.Contains("nothing in 2 snapshots matches 'lettre' or '*.odt'", error, StringComparison.Ordinal);
        (code, output, error) = Run("--json", "find", "lettre", "--snapshot", "latest");
        Assert.Equal((1, ""), (code, output));
        Assert.Contains($"nothing in snapshot {newest.Snapshot!.Id.ToString()[..8]} matches", error, StringComparison.Ordinal);
        (code, output, error) = Run("ls", "latest", place["home/lettre"]);
        Assert.Equal((1, ""), (code, output));
        Assert.Contains($"{place["home/lettre"]}: snapshot {newest.Snapshot.Id.ToString()[..8]} has no such path", error, StringComparison.Ordinal);
        Assert.Contains(place["home/letter"], Run("ls", "latest", place["home"].TrimStart('/') + "/").Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_newest_that_this_machine_knows_is_not_passed_over_unseen_and_a_repair_that_removes_it_says_so_and_ends_the_alarm()
    {
        SaveReport first = await Saving.Save(tomb, place["home"]), newest = await Saving.Save(tomb, place["home"]);
        Assert.Equal(0, Run("snapshots").Code);
        string lost = newest.Snapshot!.Id.ToString();
        Spoil($"tomb/snapshots/{lost}");
        Assert.Equal(3, Run("snapshots").Code); // which must not forget it

        (int code, string output, string error) = Run("restore", "latest", "--to", place["out"]);
        Assert.True(code == 1, $"{code}\n{output}{error}");
        Assert.Contains("rolled back or damaged", error, StringComparison.Ordinal);
        (code, output, error) = Run("restore", first.Snapshot!.Id.ToString(), "--to", place["out"]);
        Assert.True(code == 0, $"{code}\n{output}{error}");

        (code, output, error) = Run("check", "--repair");
        Assert.True(code == 0, $"{code}\n{output}{error}");
        Assert.Contains($"snapshot {lost[..8]} is lost", error, StringComparison.Ordinal);
        (code, output, error) = Run("restore", "latest", "--to", place["back"]);
        Assert.True(code == 0, $"{code}\n{output}{error}");

        File.Delete(place[$"tomb/snapshots/{first.Snapshot.Id}"]); // what no repair removed is an alarm still
        Assert.Contains("rolled back", Run("snapshots").Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_damaged_key_file_keeps_nobody_out_is_reported_and_can_be_taken_away()
    {
        await Saving.Save(tomb, place["home"]);
        string bad = new('0', 64); // comes first in any listing
        File.WriteAllText(place[$"tomb/keys/{bad}"], "no key");
        CheckReport found = await TombCheck.Run(tomb, new CheckOptions(), null, Cancel);
        Assert.Equal($"keys/{bad}", Assert.Single(found.Problems).What);
        using (var wrong = Place.Secret("wrong"))
        {
            WrongPasswordException said = await Assert.ThrowsAsync<WrongPasswordException>(() => TombRepository.Open(place.Backend(), wrong, Cancel));
            Assert.Contains($"keys/{bad} could not be tried", said.Message, StringComparison.Ordinal);
        }

        (int code, string output, string error) = Run("check", "--repair");
        Assert.True(code == 0, $"{code}\n{output}{error}");
        Assert.Contains("! 00000000  damaged", Run("key", "list").Output, StringComparison.Ordinal);
        (code, output, error) = Run("key", "remove", "00000000");
        Assert.True(code == 0, $"{code}\n{output}{error}");
        Assert.True((await TombCheck.Run(tomb, new CheckOptions(), null, Cancel)).IsWhole);
    }

    [Fact]
    public async Task Where_an_index_is_lost_a_check_sends_nobody_to_prune()
    {
        await Saving.Save(tomb, place["home"]);
        Spoil($"tomb/{new StoredFile(StoredFileType.Index, Assert.Single(await tomb.Backend.List(StoredFileType.Index, Cancel)).Name).Path}");
        (int code, string output, string _) = Run("check");
        Assert.Equal(1, code);
        Assert.Contains("in no index (sbox tomb check --repair lists them again)", output, StringComparison.Ordinal);
    }

    private void Spoil(string name, int? at = null)
    {
        byte[] bytes = File.ReadAllBytes(place[name]);
        bytes[at ?? (bytes.Length / 2)] ^= 1;
        File.Delete(place[name]); // it may be read-only
        File.WriteAllBytes(place[name], bytes);
    }

    private (int Code, string Output, string Error) Run(params string[] arguments) =>
        SboxProgram.Run(place, ["tomb", "--tomb", place.TombPath, "--password-file", place.PasswordFile, .. arguments]);
}
