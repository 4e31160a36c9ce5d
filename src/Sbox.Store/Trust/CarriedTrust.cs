using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Trust documents that a mirror, or a stick, carries along for whoever takes from it: as they lie where it takes from, and judged by nobody but those.</summary>
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
        long first = 1;
        while (first < newest && target.Dir.Exists(TrustFiles.Document(first + 1)))
            first++;
        for (long version = first; version <= newest && version - first <= TrustedRemote.MostSteps; version++)
        {
            string path = TrustFiles.Document(version), beside = TrustFiles.Signatures(version);
            if (await fetch(path, cancel).ConfigureAwait(false) is not { } document || await fetch(beside, cancel).ConfigureAwait(false) is not { } signatures)
                return null; // whoever follows them knows from the summary that one is missing
            byte[]? here = TrustFiles.TryRead(target.Dir, path);
            if (here is not null && !here.AsSpan().SequenceEqual(document))
                return $"Trust: {target.Dir.Of(path)} is another document than the one there, and stays: this repository is published by its own";
            using Dir dir = target.Dir.MakeAndOpenDir(TrustFiles.Directory);
            Keep(dir, beside, signatures);
            Keep(dir, path, document);
        }

        return null;
    }

    private static void Keep(Dir dir, string path, byte[] bytes)
    {
        string name = System.IO.Path.GetFileName(path);
        if (dir.TryReadAll(name) is not { } there || !there.AsSpan().SequenceEqual(bytes))
            Durable.Replace(dir, name, bytes);
    }
}
