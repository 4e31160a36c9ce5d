using System.Text;
using CsCheck;
using Sbox.Judges;

namespace Sbox.Sysroot.Tests;

/// <summary>Three versions of a text, merged by lines; the judges are patch(1)'s and git's.</summary>
public sealed class TextMergeTests
{
    // Few different lines, so that they meet, repeat and move.
    private static readonly Gen<string> AnyText = Gen.Select(
        Gen.Int[0, 5].Select(static n => $"{(char)('a' + n)}\n").Array[0, 12], Gen.Int[0, 5],
        static (lines, end) => string.Concat(lines) + (end == 0 && lines.Length > 0 ? "no line feed" : ""));

    [Fact]
    public void What_only_one_side_changed_is_as_that_side_has_it() => Gen.Select(AnyText, AnyText).Sample((before, after) =>
    {
        Assert.Equal(after, Merge(before, after, before));
        Assert.Equal(after, Merge(before, before, after));
        Assert.Equal(after, Merge(before, after, after));
    });

    [Fact]
    public void A_merge_is_the_same_from_both_sides() => Gen.Select(AnyText, AnyText, AnyText).Sample(
        (before, mine, next) => Merge(before, mine, next) == Merge(before, next, mine));

    [Fact]
    public void Every_line_of_a_merge_comes_from_one_of_the_three() => Gen.Select(AnyText, AnyText, AnyText).Sample((before, mine, next) =>
    {
        if (Merge(before, mine, next) is not { } merged)
            return;
        HashSet<string> known = [.. LineDiff.Lines(before + "\n"), .. LineDiff.Lines(mine + "\n"), .. LineDiff.Lines(next + "\n")];
        Assert.All(LineDiff.Lines(merged), line => Assert.Contains(line.EndsWith('\n') ? line : line + "\n", known));
    });

    [Fact]
    public void Changes_lead_from_the_one_text_to_the_other_by_the_fewest_lines() => Gen.Select(AnyText, AnyText).Sample((before, after) =>
    {
        IReadOnlyList<string> from = LineDiff.Lines(before), to = LineDiff.Lines(after);
        IReadOnlyList<LineChange> changes = LineDiff.Between(from, to);
        var made = new StringBuilder();
        int at = 0;
        foreach (LineChange change in changes)
        {
            made.AppendJoin("", from.Skip(at).Take(change.From - at)).AppendJoin("", to.Skip(change.To).Take(change.ToEnd - change.To));
            at = change.FromEnd;
        }

        Assert.Equal(after, made.AppendJoin("", from.Skip(at)).ToString());
        Assert.Equal(from.Count + to.Count - (2 * Common(from, to)), changes.Sum(static change => change.FromEnd - change.From + change.ToEnd - change.To));
    });

    [Fact]
    public void Patch_makes_the_new_text_of_the_old_one_and_the_printed_difference()
    {
        using var temp = new TempDir(inMemory: true);
        Gen.Select(AnyText, AnyText).Sample(
            (before, after) =>
            {
                string difference = LineDiff.Unified(before, after, "a", "b");
                Assert.Equal(before == after, difference.Length == 0);
                if (difference.Length == 0)
                    return;
                temp.Write("a", before);
                temp.Write("diff", difference);
                Judge.OnPath("patch").Run("--quiet", "--posix", temp.Of("a"), temp.Of("diff"));
                Assert.Equal(after, File.Exists(temp.Of("a")) ? temp.Read("a") : "");
            },
            iter: 60, threads: 1);
    }

    [Fact]
    public void Where_it_merges_git_merges_to_the_same()
    {
        using var temp = new TempDir(inMemory: true);
        int merged = 0;
        Gen<(int At, int Gone, string[] New)> anyEdit = Gen.Select(Gen.Int[0, 10], Gen.Int[0, 2], Gen.Int[0, 5].Select(static n => $"new {n}\n").Array[0, 2]);
        Gen.Select(anyEdit, anyEdit).Sample(
            (first, second) =>
            {
                string before = Edited((0, 0, [])), mine = Edited(first), next = Edited(second);
                if (Merge(before, mine, next) is not { } ours)
                    return;
                temp.Write("before", before);
                temp.Write("mine", mine);
                temp.Write("next", next);
                Verdict git = Judge.OnPath("git").Ask("merge-file", "--stdout", temp.Of("mine"), temp.Of("before"), temp.Of("next"));
                merged += git.ExitCode == 0 ? 1 : 0;
                if (git.ExitCode == 0)
                    Assert.Equal(Lines(git.Output), Lines(ours));
            },
            iter: 100, threads: 1);
        Assert.True(merged > 10, $"only {merged} of the texts could be merged");

        static string Edited((int At, int Gone, string[] New) edit)
        {
            List<string> lines = [.. Enumerable.Range(0, 12).Select(static n => $"line {n}\n")];
            lines.RemoveRange(edit.At, edit.Gone);
            lines.InsertRange(edit.At, edit.New);
            return string.Concat(lines);
        }
    }

    [Fact]
    public void Texts_that_have_nothing_in_common_are_told_apart_without_a_long_search()
    {
        string before = string.Concat(Enumerable.Range(0, 20_000).Select(static n => $"old {n}\n"));
        string after = string.Concat(Enumerable.Range(0, 20_000).Select(static n => $"new {n}\n"));
        Assert.Equal([new LineChange(0, 20_000, 0, 20_000)], LineDiff.Between(LineDiff.Lines(before), LineDiff.Lines(after)));
    }

    private static IReadOnlyList<string> Lines(string text) => [.. LineDiff.Lines(text).Select(static line => line.TrimEnd('\n'))];

    private static string? Merge(string before, string mine, string next) =>
        TextMerge.Merge(Encoding.Latin1.GetBytes(before), Encoding.Latin1.GetBytes(mine), Encoding.Latin1.GetBytes(next)) is { } merged ? Encoding.Latin1.GetString(merged) : null;

    // The longest common subsequence, by the textbook.
    private static int Common(IReadOnlyList<string> a, IReadOnlyList<string> b)
    {
        var table = new int[a.Count + 1, b.Count + 1];
        for (int i = 1; i <= a.Count; i++)
        {
            for (int j = 1; j <= b.Count; j++)
                table[i, j] = a[i - 1] == b[j - 1] ? table[i - 1, j - 1] + 1 : Math.Max(table[i - 1, j], table[i, j - 1]);
        }

        return table[a.Count, b.Count];
    }
}
