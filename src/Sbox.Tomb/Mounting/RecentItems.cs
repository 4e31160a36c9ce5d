using System.Diagnostics.CodeAnalysis;

namespace Sbox.Tomb.Mounting;

/// <summary>The items that were used last, up to a weight in all; the newest stays whatever it weighs. Safe on several threads.</summary>
/// <param name="capacity">The weight in all.</param>
/// <param name="weight">What an item weighs.</param>
/// <param name="lent">Told of an item that is handed out, while it is certainly there.</param>
/// <param name="dropped">Told of an item that is let go of.</param>
internal sealed class RecentItems<TKey, TItem>(long capacity, Func<TItem, long> weight, Action<TItem>? lent = null, Action<TItem>? dropped = null) where TKey : notnull
{
    private readonly Lock gate = new();
    private readonly Dictionary<TKey, LinkedListNode<(TKey Key, TItem Item)>> places = [];
    private readonly LinkedList<(TKey Key, TItem Item)> order = new();
    private long held;
    private bool closed;

    /// <summary>The weight of all that is there.</summary>
    public long Held
    {
        get
        {
            lock (gate)
                return held;
        }
    }

    /// <summary>Whether it is there; it does not count as a use.</summary>
    public bool Has(TKey key)
    {
        lock (gate)
            return places.ContainsKey(key);
    }

    public bool TryGet(TKey key, [MaybeNullWhen(false)] out TItem item)
    {
        lock (gate)
        {
            if (!places.TryGetValue(key, out LinkedListNode<(TKey Key, TItem Item)>? place))
            {
                item = default;
                return false;
            }

            if (place != order.First)
            {
                order.Remove(place);
                order.AddFirst(place);
            }

            item = place.Value.Item;
            lent?.Invoke(item);
            return true;
        }
    }

    /// <summary>Adds one; false when there is one of that key already, or none is kept any more.</summary>
    public bool Add(TKey key, TItem item)
    {
        lock (gate)
        {
            if (closed || places.ContainsKey(key))
                return false;
            places[key] = order.AddFirst((key, item));
            held += weight(item);
            while (held > capacity && order.Count > 1)
                DropOldest();
            return true;
        }
    }

    /// <summary>Lets go of all, and keeps none any more.</summary>
    public void Close()
    {
        lock (gate)
        {
            closed = true;
            while (order.Count > 0)
                DropOldest();
        }
    }

    private void DropOldest()
    {
        (TKey oldest, TItem old) = order.Last!.Value;
        order.RemoveLast();
        places.Remove(oldest);
        held -= weight(old);
        dropped?.Invoke(old);
    }
}
