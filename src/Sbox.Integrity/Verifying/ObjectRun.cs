using System.Collections.Concurrent;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Integrity;

/// <summary>Looks at all objects of a list, on all processors, and keeps how far it has come.</summary>
internal sealed class ObjectRun(
    Repository repository, ObjectName[] objects, long[] sizes, LookOptions look, VerifyOptions options, IProgress<VerifyProgress>? progress)
{
    private readonly Lock gate = new();
    private readonly bool[] finished = new bool[objects.Length];
    private readonly ConcurrentDictionary<Checksum, Checksum> digests = new();
    private readonly Dictionary<int, Checksum> made = [];
    private readonly SortedDictionary<int, ObjectLook> faults = [];
    private readonly Stopwatch sinceSaved = Stopwatch.StartNew();
    private readonly long totalBytes = sizes.Sum();
    private Checksum list;
    private DateTimeOffset begun;
    private int done, looked;
    private long passed, reported;

    /// <summary>What is wrong, or could not be looked at.</summary>
    public IReadOnlyCollection<ObjectLook> Faults => faults.Values;

    public long Read { get; private set; }

    public long Held { get; private set; }

    public long Unseen { get; private set; }

    public long Bytes { get; private set; }

    public DateTimeOffset? ResumedFrom { get; private set; }

    /// <summary>The fs-verity digest of a file's content; null where it is not known.</summary>
    public Checksum? DigestOf(Checksum file) => digests.TryGetValue(file, out Checksum digest) ? digest : null;

    public void Execute(CancellationToken cancel)
    {
        begun = options.Clock.GetUtcNow();
        int[] places = [.. Enumerable.Range(0, objects.Length)];
        if (options is { Deep: true, StateFile: { } file })
        {
            list = ListDigest();
            if (!options.Restart && VerifyState.Load(file, list, objects.Length) is { } state)
                places = Resume(state, cancel);
        }

        try
        {
            repository.Look([.. places.Select(place => objects[place])], look, (at, found) => Take(places[at], found), cancel);
        }
        catch
        {
            Save();
            throw;
        }

        if (options is { Deep: true, StateFile: { } whole })
            VerifyState.Forget(whole);
    }

    private int[] Resume(VerifyState state, CancellationToken cancel)
    {
        (begun, ResumedFrom, Bytes) = (state.Begun, state.Begun, state.Bytes);
        HashSet<int> again = [.. state.Again];
        int[] skipped = [.. Enumerable.Range(0, state.Done).Where(place => !again.Contains(place))];
        foreach (int place in skipped)
        {
            finished[place] = true;
            passed += sizes[place];
        }

        foreach ((int place, Checksum digest) in state.Digests.Where(each => each.Key < objects.Length))
            digests[objects[place].Checksum] = made[place] = digest;
        (Read, looked) = (skipped.Length, skipped.Length);
        Advance();
        // The kernel's own digests cost nothing to ask for again; a file that lost its own since is read.
        var lost = new ConcurrentBag<int>();
        repository.Look([.. skipped.Select(place => objects[place])], look with { Read = false }, (at, found) =>
        {
            if (found.Problem is not null || (found.Content == ContentProof.Unseen && look.WithVerity && !digests.ContainsKey(found.Name.Checksum)))
                lost.Add(skipped[at]);
            else if (found.Verity is { } digest)
                digests[found.Name.Checksum] = digest;
        }, cancel);
        return [.. lost.Concat(again).Concat(Enumerable.Range(state.Done, objects.Length - state.Done)).Distinct().Order()];
    }

    private void Take(int place, ObjectLook found)
    {
        if (found.Verity is { } digest)
            digests[found.Name.Checksum] = digest;
        lock (gate)
        {
            if (found.Verity is { } own && look is { Read: true, WithVerity: true })
                made[place] = own;
            if (found.Problem is not null)
                faults[place] = found;
            else
                Count(found);
            if (!finished[place])
            {
                finished[place] = true;
                looked++;
                passed += sizes[place];
            }

            Advance();
            if (sinceSaved.Elapsed >= options.SaveEvery)
                Save();
            if (reported++ % 64 == 0 || looked == objects.Length)
                progress?.Report(new VerifyProgress(looked, objects.Length, passed, totalBytes));
        }
    }

    private void Count(ObjectLook found)
    {
        Bytes += found.Bytes;
        switch (found.Content)
        {
            case ContentProof.Read:
                Read++;
                break;
            case ContentProof.HeldByKernel:
                Held++;
                break;
            default:
                Unseen++;
                break;
        }
    }

    private void Advance()
    {
        while (done < finished.Length && finished[done])
            done++;
    }

    private void Save()
    {
        if (options is not { Deep: true, StateFile: { } file })
            return;
        lock (gate)
        {
            sinceSaved.Restart();
            new VerifyState(list, begun, done, Bytes) { Again = [.. faults.Keys.Where(place => place < done)], Digests = made.Where(each => each.Key < done).ToDictionary() }.Save(file);
        }
    }

    private Checksum ListDigest()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (ObjectName name in objects)
            hash.AppendData(Encoding.ASCII.GetBytes($"{name}\n"));
        return Checksum.FromBytes(hash.GetHashAndReset());
    }
}
