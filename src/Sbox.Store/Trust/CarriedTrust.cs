using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Trust documents that a mirror, or a stick, carries along for whoever takes from it: as they lie where it takes from. Who is to be believed, those judge who follow them; here it is asked alone that each is one,
/// signed as it asks itself and follows the one before, so that no page of a server's is carried for ever in a document's place.
/// </summary>
/// <remarks>docs/decisions/0017-trust-that-outlives-a-key.md.</remarks>
internal static class CarriedTrust
{
    /// <summary>The newest document that a summary, or what is believed here of its remote, knows: what lies behind it is a draft, or anything. 0 for none.</summary>
    public static long Newest(Summary? summary, RemoteTrust? trust) => Math.Max(summary?.TrustVersion ?? 0, trust?.Document?.Document.Version ?? 0);

    /// <summary>Takes the documents that are not here yet, signatures before what they sign; <see cref="TrustedRemote.MostSteps"/> of them, and the next pull goes on.</summary>
    /// <param name="target">The mirror.</param>
    /// <param name="newest">The last to take, and to ask for.</param>
    /// <param name="fetch">Reads what its source has.</param>
    /// <param name="cancel">Ends it.</param>
    /// <returns>What a person should know; null for nothing.</returns>
    public static async Task<string?> Take(Repository target, long newest, TrustedRemote.Fetch fetch, CancellationToken cancel)
    {
        (long first, TrustDocument? before) = Kept(target, newest);
        for (long version = first; version <= newest && version - first <= TrustedRemote.MostSteps; version++)
        {
            string path = TrustFiles.Document(version), beside = TrustFiles.Signatures(version);
            if (await fetch(path, cancel).ConfigureAwait(false) is not { } document || await fetch(beside, cancel).ConfigureAwait(false) is not { } signatures)
                return null; // whoever follows them knows from the summary that one is missing
            byte[]? here = TrustFiles.TryRead(target.Dir, path);
            bool isSame = here is not null && here.AsSpan().SequenceEqual(document);
            bool isDocument = here is not null && IsDocument(path, version, here);
            if (isDocument && !isSame)
                return $"Trust: {target.Dir.Of(path)} is another document than the one there, and stays: this repository is published by its own";
            if (isDocument && TrustFiles.TryRead(target.Dir, beside) is { } own)
                signatures = Union(before, TrustDocument.Parse(path, document), document, own, signatures);
            if (Judge(before, path, document, signatures, out string finding) is not { } judged)
                return $"Trust: there is no document {version} to carry along, but something else: {finding}";
            using Dir dir = target.Dir.MakeAndOpenDir(TrustFiles.Directory);
            Keep(dir, beside, signatures);
            Keep(dir, path, document);
            before = judged;
        }

        return null;
    }

    // From where on to ask, and the document before that: the newest in one line from the first is asked for again, since signatures may have come.
    private static (long First, TrustDocument? Before) Kept(Repository target, long newest)
    {
        TrustDocument? before = null;
        long version = 1;
        for (; version < newest && target.Dir.Exists(TrustFiles.Document(version + 1)); version++)
        {
            string path = TrustFiles.Document(version);
            if (TrustFiles.TryRead(target.Dir, path) is not { } bytes || Judge(before, path, bytes, TrustFiles.TryRead(target.Dir, TrustFiles.Signatures(version)) ?? [], out _) is not { } judged)
                break;
            before = judged;
        }

        return (version, before);
    }

    private static TrustDocument? Judge(TrustDocument? before, string path, byte[] bytes, byte[] signatures, out string finding)
    {
        try
        {
            finding = "";
            return before is null ? TrustDocument.First(path, bytes, signatures) : before.Next(path, bytes, signatures);
        }
        catch (TrustException none)
        {
            finding = none.Message;
            return null;
        }
    }

    // Also one that nobody has signed yet: a draft of whoever publishes here.
    private static bool IsDocument(string path, long version, byte[] bytes)
    {
        try
        {
            return TrustDocument.Parse(path, bytes).Version == version;
        }
        catch (TrustException)
        {
            return false;
        }
    }

    // What came may lack a signature that is here, and be nobody's that counts.
    private static byte[] Union(TrustDocument? before, TrustDocument document, byte[] bytes, byte[] here, byte[] came)
    {
        Ed25519PublicKey[] asked = [.. (before is null ? [document] : (TrustDocument[])[before, document]).SelectMany(static each => each.Document.Signers.Select(name => each.Keys[name])).Distinct()];
        List<byte[]> own = Counting(here), theirs = Counting(came);
        byte[][] more = [.. own.Where(signature => !theirs.Exists(there => there.AsSpan().SequenceEqual(signature)))];
        return more.Length == 0 ? came : theirs.Count + more.Length == own.Count ? here : TrustDocument.ToFile([.. theirs, .. more]);

        List<byte[]> Counting(byte[] file) => [.. TrustDocument.SignaturesIn(file).Take(TrustDocument.MaximumSignatures).Where(signature => asked.Any(key => key.Verify(bytes, signature)))];
    }

    private static void Keep(Dir dir, string path, byte[] bytes)
    {
        string name = System.IO.Path.GetFileName(path);
        if (dir.TryReadAll(name) is not { } there || !there.AsSpan().SequenceEqual(bytes))
            Durable.Replace(dir, name, bytes);
    }
}
