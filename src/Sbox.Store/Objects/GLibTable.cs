using System.Text;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>
/// The order in which GLib's hash table gives its keys back. libostree builds some dictionaries in such a table (GVariantDict), so that what it writes is in
/// this order; the same entries make the same bytes only if ours are too.
/// </summary>
/// <remarks>After the description of GLib's ghash.c: open addressing, places probed at growing steps, a prime modulus below the size.</remarks>
internal static class GLibTable
{
    private static readonly uint[] Primes = [1, 2, 3, 7, 13, 31, 61, 127, 251, 509, 1021, 2039, 4093];
    private const int SmallestShift = 3;

    /// <summary>The same entries in that order.</summary>
    public static VariantDictionary Ordered(VariantDictionary dictionary)
    {
        VariantDictionary ordered = VariantDictionary.Empty;
        foreach (string key in Order([.. dictionary.Keys]))
            ordered = ordered.With(key, dictionary[key]!);
        return ordered;
    }

    private static List<string> Order(string[] keys)
    {
        int shift = SmallestShift;
        var places = new string?[1 << shift];
        int count = 0;
        foreach (string key in keys)
        {
            Put(places, shift, key);
            count++;
            if (places.Length > count + (count / 16))
                continue;
            shift = Math.Max(SmallestShift, 32 - System.Numerics.BitOperations.LeadingZeroCount((uint)(count * 1.333)));
            places = Grown(places, shift);
        }

        return [.. places.Where(static each => each is not null).Select(static each => each!)];
    }

    // In place, as GLib grows a table: each key goes to its new place and puts out whoever waits there, who goes next.
    private static string?[] Grown(string?[] old, int shift)
    {
        var places = new string?[1 << shift];
        old.CopyTo(places, 0);
        var settled = new bool[places.Length];
        for (int i = 0; i < old.Length; i++)
        {
            if (settled[i] || places[i] is not { } moving)
                continue;
            places[i] = null;
            for (string? next = moving; next is not null;)
            {
                uint at = Hash(next) * 11 % Primes[shift];
                for (uint step = 1; settled[at]; step++)
                    at = (at + step) & (uint)(places.Length - 1);
                settled[at] = true;
                (places[at], next) = (next, places[at]);
            }
        }

        return places;
    }

    private static void Put(string?[] places, int shift, string key)
    {
        uint at = Hash(key) * 11 % Primes[shift];
        for (uint step = 1; places[at] is not null; step++)
            at = (at + step) & (uint)(places.Length - 1);
        places[at] = key;
    }

    // djb2 over signed bytes; 0 and 1 mark free places.
    private static uint Hash(string key)
    {
        uint hash = 5381;
        foreach (byte each in Encoding.UTF8.GetBytes(key))
            hash = (hash << 5) + hash + (uint)(sbyte)each;
        return hash < 2 ? 2 : hash;
    }
}
