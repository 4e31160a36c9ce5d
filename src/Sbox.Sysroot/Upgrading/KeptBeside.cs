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

    /// <summary>What is offered, with the signatures that are here among it. The seal stays what it is; signatures of the same files that count here are added to it.</summary>
    public static VariantDictionary Of(VariantDictionary here, VariantDictionary offered, SealedFiles files)
    {
        VariantDictionary kept = offered;
        foreach (string key in here.Keys)
        {
            GVariant ours = here[key]!;
            if (key == CommitSeal.Key)
                kept = Seal(here, offered, files) is { } seal ? seal.AddTo(kept) : kept.With(key, ours);
            else if (offered[key] is not { } theirs)
                kept = kept.With(key, ours);
            else if (ours.Type.Signature == "aay")
                kept = kept.With(key, theirs.Type.Signature == "aay" ? GVariant.Array(GVariantType.Parse("ay"), [.. ours.Items.Union(theirs.Items)]) : ours);
        }

        return kept.ToBytes().Length <= Maximum ? kept : here;
    }

    // A commit may be sealed again, by a new key. What is signed cannot change: the files on the EFI partition are those of the seal that is here.
    private static CommitSeal? Seal(VariantDictionary here, VariantDictionary offered, SealedFiles files)
    {
        if (Parse(offered) is not { } fresh)
            return null;
        if (Parse(here) is not { } old)
            return fresh.UkiSignatures.Count > 0 && fresh.LoaderSignatures.Count > 0 ? fresh : null;
        return !old.SignsTheSameAs(fresh) ? old : old with
        {
            UkiSignatures = files.Merge(old.UkiSignatures, fresh.UkiSignatures), LoaderSignatures = files.Merge(old.LoaderSignatures, fresh.LoaderSignatures),
        };
    }

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
