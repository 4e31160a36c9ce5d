using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>
/// What is kept beside a deployed commit when a server offers something else: its signatures and its seal may be nowhere but here, and whoever
/// answers for the server signs nothing of it.
/// </summary>
internal static class KeptBeside
{
    // Far more than any signatures have; more would make the whole unreadable.
    private const int Maximum = 1024 * 1024;

    /// <summary>What is offered, with the signatures that are here among it; the seal only in place of one for the same image.</summary>
    public static VariantDictionary Of(VariantDictionary here, VariantDictionary offered)
    {
        VariantDictionary kept = offered;
        foreach (string key in here.Keys)
        {
            GVariant ours = here[key]!;
            if (key == CommitSeal.Key)
                kept = IsSealOfTheSame(here, offered) ? kept : kept.With(key, ours);
            else if (offered[key] is not { } theirs)
                kept = kept.With(key, ours);
            else if (ours.Type.Signature == "aay")
                kept = kept.With(key, theirs.Type.Signature == "aay" ? GVariant.Array(GVariantType.Parse("ay"), [.. ours.Items.Union(theirs.Items)]) : ours);
        }

        return kept.ToBytes().Length <= Maximum ? kept : here;
    }

    // A commit may be sealed again, by a new key; what its image is cannot change.
    private static bool IsSealOfTheSame(VariantDictionary here, VariantDictionary offered) =>
        Parse(offered) is { UkiSignatures.Count: > 0, LoaderSignatures.Count: > 0 } fresh && (Parse(here) is not { } old || old.Composefs == fresh.Composefs);

    private static CommitSeal? Parse(VariantDictionary detached)
    {
        try
        {
            return CommitSeal.Of(detached);
        }
        catch (Exception unreadable) when (unreadable is MalformedException or ArgumentException)
        {
            return null;
        }
    }
}
